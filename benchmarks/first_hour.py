"""The first hour on a GPU: is it right, how fast is it, and why. Most important first.

    python benchmarks/first_hour.py
    python benchmarks/first_hour.py --only numbers steps
    python benchmarks/first_hour.py --tiny      # the same on little, to try this on a CPU

Each part is a process of its own with a limit of time, whose output goes to a file; whatever ends
one, the next begins. What is printed is what a part ended with. docs/performance.md is where the
measurements belong.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
MODELS = "--models resnet20 resnet18 vgg11 vit_tiny"
SMALL = "--models lenet5 --batch 8 --samples 2"
PACKS = "--models lenet_100_50 --networks 1 2 --steps 1"
BIG_PACKS = "--models resnet20 vit_tiny --channels 3 --size 32 --batch 128 --samples 10"


class Part(NamedTuple):
    """A part: what Python runs, on little instead, for how many seconds, and lines to print."""

    command: str
    tiny: str
    seconds: int
    lines: int


PARTS = {
    "numbers": Part("-m pytest -q -x tests/gpu", "-m pytest -q tests/gpu", 600, 15),
    "steps": Part(
        f"benchmarks/training.py {MODELS} --steps 3",
        f"benchmarks/training.py {SMALL} --steps 1 --cases ours",
        900,
        60,
    ),
    "epochs": Part(
        f"benchmarks/training.py {MODELS} --epochs",
        "benchmarks/training.py --models lenet5 --inference deterministic --epochs",
        900,
        40,
    ),
    "profile": Part(
        f"benchmarks/training.py {MODELS} --profile --cases ours",
        f"benchmarks/training.py {SMALL} --profile --cases ours",
        300,
        200,
    ),
    "sweep": Part(
        "benchmarks/training.py --models resnet18 --inference bayesian --sweep --steps 3",
        f"benchmarks/training.py {SMALL} --sweep --steps 1",
        300,
        20,
    ),
    "packs": Part(f"benchmarks/packs.py {BIG_PACKS}", f"benchmarks/packs.py {PACKS}", 300, 30),
    "captured packs": Part(
        f"benchmarks/packs.py {BIG_PACKS} --capture", f"benchmarks/packs.py {PACKS}", 300, 30
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART")
    parser.add_argument("--tiny", action="store_true", help="little of each part, on any machine")
    parser.add_argument("--logs", type=Path, default=Path("logs/first_hour"))
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    ends = []
    for name in options.only:
        log = options.logs / f"{name.replace(' ', '_')}.txt"
        ends.append((name, *run(PARTS[name], options.tiny, log)))
    print("\n| part | end | s |\n| --- | --- | --- |")
    for name, end, seconds in ends:
        print(f"| {name} | {end} | {seconds:.0f} |")
    sys.exit(any(end != "well" for _, end, _ in ends))


def run(part: Part, tiny: bool, log: Path) -> tuple[str, float]:
    """Run a part, print what it ended with; how it ended, and its seconds."""
    command = part.tiny if tiny else part.command
    print(f"\n    python {command}\n", flush=True)
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
    print("\n".join(log.read_text(errors="replace").splitlines()[-part.lines :]), flush=True)
    return end, time.monotonic() - started


if __name__ == "__main__":
    main()
