"""All benchmarks of speed, on this machine, as one page in Markdown.

    python benchmarks/run.py > page.md
    python benchmarks/run.py steps epochs      # only these sections

With a GPU everything runs on it. Each section begins with the command that makes it alone.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
ON_GPU = "--models resnet20 --channels 3 --size 32 --batch 128 --samples 10"
# Each section: what it shows, a program of this folder, its options, and more of them on a GPU.
SECTIONS = {
    "steps": ("Steps, beside what one would write instead", "training.py", "", ""),
    "epochs": ("Epochs, with their tests", "training.py", "--epochs", ""),
    "profile": ("What bounds a step", "training.py", "--profile --cases ours", ""),
    "start": ("A job's start", "training.py", "--start", ""),
    "packs": ("Networks side by side", "packs.py", "", ON_GPU),
    "captured_packs": ("Networks side by side, captured", "packs.py", None, f"{ON_GPU} --capture"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    wanted = parser.parse_args().sections or SECTIONS
    if unknown := set(wanted) - set(SECTIONS):
        parser.error(f"{', '.join(unknown)}: not known; choose from {', '.join(SECTIONS)}")
    gpu = torch.cuda.is_available()
    failed = []
    for name in wanted:
        title, program, options, more = SECTIONS[name]
        if options is None and not gpu:
            continue
        arguments = [program, *(options or "").split(), *(more.split() if gpu else ())]
        print(f"\n## {title}\n\n    python benchmarks/{' '.join(arguments)}\n", flush=True)
        if subprocess.run([sys.executable, HERE / program, *arguments[1:]]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
