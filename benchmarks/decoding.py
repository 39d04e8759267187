"""Decoding an image folder, beside one epoch of torchvision's ImageFolder under a DataLoader.

    python benchmarks/decoding.py
    python benchmarks/decoding.py --images 2000 --processes 4

The JPEG files are made here, smooth noise of a thousand different pictures, and go when it ends.
Both read all of them, by as many processes; the folder is read once before. Memory is what the
processes hold together of their own, beside pages of files, looked at twice a second.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
CLASSES, PICTURES = 100, 1000
IMAGEFOLDER = """
import sys
from torch.utils.data import ConcatDataset, DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, PILToTensor, Resize

root, size, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
as_tensor = Compose([Resize((size, size)), PILToTensor()])
halves = [ImageFolder(f"{root}/{half}", as_tensor) for half in ("train", "test")]
for images, labels in DataLoader(ConcatDataset(halves), 128, num_workers=processes):
    pass
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=60_000, help="JPEG files (60000)")
    parser.add_argument("--width", type=int, default=320, help="of the files, pixels (320)")
    parser.add_argument("--height", type=int, default=240, help="of the files, pixels (240)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side when decoded (64)")
    parser.add_argument("--processes", type=int, default=2, help="that decode (2)")
    parser.add_argument("--rounds", type=int, default=1, help="times each takes its turn (1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "images")
        read = write(root, given)
        print(f"{given.images} files of {read / given.images / 1e3:.1f} kB\n")
        settings = json.dumps({"source": "imagefolder", "root": str(root), "size": given.size})
        arguments = ["--name", "made", "--settings", settings, "--output", f"{folder}/out"]
        arguments += ["--threads", str(given.processes)]
        cases = {
            "ImageFolder, an epoch": ["-c", IMAGEFOLDER, root, given.size, given.processes],
            "decoding, once": [ROOT / "scripts/prepare_data.py", *arguments],
        }
        print("| | images a second | seconds | seconds of processors | GB of memory |")
        print("| --- | --- | --- | --- | --- |")
        for _ in range(given.rounds):
            for name, command in cases.items():
                wall, busy, memory = measure([sys.executable, *map(str, command)])
                print(
                    f"| {name} | {given.images / wall:.0f} | {wall:.0f} | {busy:.1f} | "
                    f"{memory / 1e9:.2f} |",
                    flush=True,
                )
        print(f"\nThe decoded file holds {Path(folder, 'out').stat().st_size / 1e9:.2f} GB.")


def write(root: Path, given: argparse.Namespace) -> int:
    """Write the files, nine of ten for training, and read them; returns their bytes."""
    random, pictures = np.random.default_rng(0), []
    for _ in range(min(PICTURES, given.images)):
        coarse = random.integers(256, size=(given.height // 8, given.width // 8, 3), dtype=np.uint8)
        file = io.BytesIO()
        picture = Image.fromarray(coarse).resize(
            (given.width, given.height), Image.Resampling.BICUBIC
        )
        picture.save(file, "JPEG", quality=90)
        pictures.append(file.getvalue())
    for half in ("train", "test"):
        for label in range(CLASSES):
            (root / half / f"class{label:03}").mkdir(parents=True)
    for index in range(given.images):
        half = "test" if index // CLASSES % 10 == 9 else "train"
        path = root / half / f"class{index % CLASSES:03}" / f"{index:07}.jpg"
        path.write_bytes(pictures[index % len(pictures)])
    return sum(len(path.read_bytes()) for path in root.rglob("*.jpg"))


def measure(command: list[str]) -> tuple[float, float, int]:
    """Seconds, seconds of processors and bytes of memory of a program and its processes."""
    before, started, most = _busy(), time.perf_counter(), 0
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, start_new_session=True) as running:
        while running.poll() is None:
            most = max(most, _memory(running.pid))
            time.sleep(0.5)
    if running.returncode:
        sys.exit(f"failed: {command[1]}")
    return time.perf_counter() - started, _busy() - before, most


def _busy() -> float:
    """Seconds that processors have spent on programs that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _memory(session: int) -> int:
    """Bytes that the processes of a session hold, pages of files apart."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                lines = (folder / "status").read_text().splitlines()
                kept = (line.split() for line in lines if line.startswith(("RssAnon", "RssShmem")))
                total += sum(int(kilobytes) * 1024 for _, kilobytes, _ in kept)
        except (OSError, ProcessLookupError):
            continue  # it has ended
    return total


if __name__ == "__main__":
    main()
