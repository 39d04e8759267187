"""`make test` where there is no SLURM."""

import os
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
COMMAND = "python3 tests/slurm/cluster.py install"


def without_slurm(*command: str) -> str:
    """What a command prints where no command of SLURM is found; it must end well."""
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "LOTTERY_REQUIRE_SLURM")}
    environment["PATH"] = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=TESTS.parent,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_slurm_tests_are_skipped_before_they_do_anything():
    started = time.monotonic()
    output = without_slurm("-m", "pytest", "-q", "tests/slurm", "-p", "no:cacheprovider")
    assert time.monotonic() - started < 20  # a second where nothing else runs
    assert " skipped in" in output and "passed" not in output
    assert COMMAND in output


def test_the_last_line_says_what_was_skipped_and_what_brings_it():
    show = "from run import *; print(*verdict(dict.fromkeys(PARTS, 0), obstacle()), sep='\\n')"
    last = without_slurm("-c", f"import sys; sys.path.insert(0, 'tests'); {show}").splitlines()[-1]
    assert last.startswith("Tests on SLURM: skipped. SLURM is not installed")
    assert last.endswith(COMMAND)
