"""Run all tests: those on a SLURM test cluster, which mostly wait, beside the others.

    python tests/run.py

Faults on a real SLURM depend on the machine's timing: of those tests, what fails is tried once
more, when nothing else runs. Where there is no SLURM, the last line says so, and what brings it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from slurm.cluster import obstacle

SLURM = Path(__file__).with_name("slurm")
PYTEST = [sys.executable, "-m", "pytest"]
# A cache of their own, for both write there what failed last.
ON_SLURM = [*PYTEST, str(SLURM), "-o", "cache_dir=.pytest_cache/slurm"]


def main() -> int:
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(ON_SLURM, stdout=output, stderr=subprocess.STDOUT)
        try:
            others = subprocess.run([*PYTEST, "--ignore", str(SLURM)]).returncode
            print("\nWaiting for the tests on SLURM, which run beside these.", flush=True)
            on_slurm = beside.wait()
        finally:
            beside.terminate()
        output.seek(0)
        print(output.read(), flush=True)
    if on_slurm:
        on_slurm = subprocess.run([*ON_SLURM, "--last-failed"]).returncode
    print(*verdict(others, on_slurm, obstacle()), sep="\n")
    return int(bool(others or on_slurm))


def verdict(others: int, on_slurm: int, reason: str | None) -> list[str]:
    """The last lines: how both runs of pytest ended, by their exit statuses.

    Args:
        reason: why no test cluster can start here, if so.
    """
    first = f"Tests without SLURM: {'FAILED' if others else 'passed'}."
    if reason and not on_slurm:
        return [first, f"Tests on SLURM: skipped. {reason}"]
    return [first, f"Tests on SLURM: {'FAILED' if on_slurm else 'passed'}."]


if __name__ == "__main__":
    sys.exit(main())
