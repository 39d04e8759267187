"""A GPU in 25 minutes: is it right, how fast is it, and why. Most important first.

    python benchmarks/gpu_check.py
    python benchmarks/gpu_check.py --only numbers steps
    python benchmarks/gpu_check.py --tiny      # the same on little, to try this on a CPU

Each part is a process of its own with a limit of time, whose output goes to a file; whatever ends
one, the next begins. At the end the folder has one page, `page.md`, for docs/performance.md, and
the same as `card.json`, from which `scripts/estimate.py --card` takes the speeds of that card.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import gpu_page

HERE = Path(__file__).parent
ROOT = HERE.parent
MODELS = "--models resnet20 resnet18 vgg11 vit_tiny"
SMALL = "--models lenet5 --batch 8 --samples 2"
PACKS = "--models lenet_100_50 --networks 1 2 --steps 1"
BIG_PACKS = "--models resnet20 vit_tiny --channels 3 --size 32 --batch 128 --samples 10"


class Part(NamedTuple):
    """A part: what Python runs, on little instead, the most seconds, lines to print.

    `{json}` in a command is the file for what it measures.
    """

    command: str
    tiny: str
    seconds: int
    lines: int


PARTS = {
    "numbers": Part("-m pytest -q tests/gpu", "-m pytest -q tests/gpu", 360, 15),
    "steps": Part(
        f"benchmarks/training.py {MODELS} --steps 2 --json {{json}}",
        f"benchmarks/training.py {SMALL} --steps 1 --cases ours --json {{json}}",
        480,
        60,
    ),
    "epochs": Part(
        f"benchmarks/training.py {MODELS} --epochs --json {{json}}",
        f"benchmarks/training.py {SMALL} --epochs --images 500 --json {{json}}",
        300,
        40,
    ),
    "profile": Part(
        f"benchmarks/training.py {MODELS} --profile --cases ours --json {{json}}",
        f"benchmarks/training.py {SMALL} --profile --cases ours --json {{json}}",
        180,
        200,
    ),
    "packs": Part(f"benchmarks/packs.py {BIG_PACKS}", f"benchmarks/packs.py {PACKS}", 180, 30),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--tiny", action="store_true", help="little of each part, on any machine")
    parser.add_argument("--folder", type=Path, default=Path("logs/gpu_check"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    ends = [
        {"part": name, **run(name, PARTS[name], options.tiny, options.folder.resolve())}
        for name in options.only
    ]
    measured = {"parts": ends}
    for name in options.only:
        if (path := options.folder / f"{name}.json").exists():
            measured[name] = json.loads(path.read_text())
    (options.folder / "card.json").write_text(json.dumps(measured, indent=1) + "\n")
    page = gpu_page.page(measured)
    (options.folder / "page.md").write_text(page)
    print(f"\n{page}\n{options.folder / 'page.md'}, {options.folder / 'card.json'}")
    sys.exit(any(each["end"] != "well" for each in ends))


def run(name: str, part: Part, tiny: bool, folder: Path) -> dict:
    """Run a part, print what it ended with; how it ended, and its seconds."""
    command = (part.tiny if tiny else part.command).format(json=folder / f"{name}.json")
    print(f"\n    python {command}\n", flush=True)
    log = folder / f"{name}.txt"
    started, end = time.monotonic(), "well"
    with log.open("w") as output:
        try:
            status = subprocess.run(
                [sys.executable, *command.split()],
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=part.seconds,
            ).returncode
            end = "well" if status == 0 else f"exit status {status}"
        except subprocess.TimeoutExpired:
            end = f"stopped after {part.seconds} s"
    lines = log.read_text(errors="replace").splitlines()
    print("\n".join(lines[-part.lines :]), flush=True)
    last = lines[-1] if lines else ""
    return {"end": end, "seconds": round(time.monotonic() - started), "last": last}


if __name__ == "__main__":
    main()
