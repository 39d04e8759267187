"""Run all tests, in three parts beside one another: of the package, of the workflow, and on SLURM.

    python tests/run.py

Those on a SLURM test cluster mostly wait, and those of the workflow mostly start programs. Faults
on a real SLURM depend on the machine's timing: of those tests, what fails is tried once more, when
nothing else runs. Where there is no SLURM, the last line says so, and what brings it.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from slurm.machine import obstacle

TESTS = Path(__file__).parent
PACKAGE = "of the package"
PARTS = {PACKAGE: ("unit", "fuzz", "gpu"), "of the workflow": ("workflow",), "on SLURM": ("slurm",)}


def command(part: str) -> list[str]:
    """What runs the tests of a part, with a cache of its own for what failed last."""
    folders = PARTS[part]
    words = [sys.executable, "-m", "pytest", *(str(TESTS / folder) for folder in folders)]
    return [*words, "--durations=20", "-o", f"cache_dir=.pytest_cache/{folders[0]}"]


def main() -> int:
    failed = {}
    with ExitStack() as stack:
        beside = {}
        for part in PARTS.keys() - {PACKAGE}:
            output = stack.enter_context(tempfile.TemporaryFile("w+"))
            process = subprocess.Popen(command(part), stdout=output, stderr=subprocess.STDOUT)
            stack.callback(process.terminate)
            beside[part] = process, output
        failed[PACKAGE] = subprocess.run(command(PACKAGE)).returncode
        for part, (process, output) in sorted(beside.items(), reverse=True):
            print(f"\nWaiting for the tests {part}, which run beside these.", flush=True)
            failed[part] = process.wait()
            output.seek(0)
            print(output.read(), flush=True)
    if failed["on SLURM"]:
        failed["on SLURM"] = subprocess.run([*command("on SLURM"), "--last-failed"]).returncode
    print(*verdict(failed, obstacle()), sep="\n")
    return int(any(failed.values()))


def verdict(failed: dict[str, int], reason: str | None) -> list[str]:
    """The last lines: how each part ended, by its exit status.

    Args:
        reason: why no test cluster can start here, if so.
    """
    words = {part: "FAILED." if failed[part] else "passed." for part in PARTS}
    if reason and not failed["on SLURM"]:
        words["on SLURM"] = f"skipped. {reason}"
    return [f"Tests {part}: {said}" for part, said in words.items()]


if __name__ == "__main__":
    sys.exit(main())
