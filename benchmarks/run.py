"""All benchmarks of speed, on this machine, as one page in Markdown.

    python benchmarks/run.py > page.md
    python benchmarks/run.py steps epochs      # only these sections

With a GPU everything runs on it, without one less is measured. Each section begins with the command
that makes it alone.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
BIG = "--models resnet20 --channels 3 --size 32 --batch 128 --samples 10"
# Each section: what it shows, a program of this folder, and its options on a CPU, which would take
# hours for more, and on a GPU; None: it is not for such a device.
SECTIONS = {
    "steps": (
        "Steps, beside what one would write instead",
        "training.py",
        "--models resnet20 vgg11 vit_tiny --steps 3",
        "",
    ),
    "epochs": (
        "Epochs, with their tests",
        "training.py",
        "--epochs --models resnet20 --inference deterministic",
        "--epochs",
    ),
    "profile": (
        "What bounds a step",
        "training.py",
        "--profile --cases ours --models resnet20",
        "--profile --cases ours",
    ),
    "start": ("A job's start", "start.py", "", ""),
    "packs": ("Networks side by side", "packs.py", "", BIG),
    "captured_packs": ("Networks side by side, captured", "packs.py", None, f"{BIG} --capture"),
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
        title, program, *choices = SECTIONS[name]
        options = choices[gpu]
        if options is None:
            continue
        print(f"\n## {title}\n\n    python benchmarks/{program} {options}\n", flush=True)
        if subprocess.run([sys.executable, HERE / program, *options.split()]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
