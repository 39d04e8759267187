"""Seconds until a job's script has its imports, alone and forked from a warm Python.

python benchmarks/start.py
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="times each is timed (5)")
    start_up(parser.parse_args().repeats)


def start_up(repeats: int) -> None:
    """Seconds until a training script has its imports, alone and forked from a warm Python."""
    program = "from bayesian_lottery.running.warm import delegate; delegate(); import torch; "
    program += "from bayesian_lottery.training import jobs; torch.optim.Adam([torch.zeros(1)])"
    timer = (
        "import subprocess, sys, time, tempfile, pathlib\n"
        f"path = pathlib.Path(tempfile.mkdtemp()) / 'job.py'; path.write_text({program!r})\n"
        "run = lambda: subprocess.run([sys.executable, path], check=True)\n"
        "run()\n"  # waits for the warm Python, or for the disk
        f"for _ in range({repeats}):\n"
        "    started = time.perf_counter(); run(); print(time.perf_counter() - started)\n"
    )
    print("\n| start-up of a job | seconds, median |\n| --- | --- |")
    for name, prefix in {
        "alone": [],
        "forked by scripts/warm.py": [sys.executable, str(SCRIPTS / "warm.py")],
    }.items():
        arguments = [*prefix, sys.executable, "-c", timer]
        output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
        print(f"| {name} | {statistics.median(map(float, output.split())):.2f} |", flush=True)


if __name__ == "__main__":
    main()
