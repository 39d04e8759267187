"""The lock of a run, the claim of a GPU (`bayesian_lottery.running.cluster`)."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bayesian_lottery.errors import InputError
from bayesian_lottery.running import cluster

HOLD = """
import sys, time
from pathlib import Path
from bayesian_lottery.running import cluster
cluster.hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""
CLAIM = """
import os, sys
from bayesian_lottery import gpus
gpus.claim_gpu()
print(os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
sys.stdin.read()
"""


def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "CUDA"))}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=inherited | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


def test_only_one_holds_and_a_kill_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / "running"
    other = start(HOLD, str(lock))
    assert first_line(other) == "held"
    with pytest.raises(InputError, match=f"as process {other.pid}"):
        cluster.hold(lock)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    cluster.hold(lock)
    assert lock.read_text().endswith(f" {os.getpid()}")


def test_an_orderly_end_leaves_no_holder(tmp_path: Path) -> None:
    lock = tmp_path / "running"
    other = start(HOLD, str(lock))
    assert first_line(other) == "held"
    other.communicate()
    assert lock.read_text() == ""


def test_a_holder_on_another_machine_is_believed(tmp_path: Path) -> None:
    lock = tmp_path / "running"
    lock.write_text("elsewhere 4711")
    with pytest.raises(InputError, match="process 4711 on elsewhere"):
        cluster.hold(lock)


def test_no_slurm_no_orphans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert cluster.cancel_orphans(tmp_path, must_answer=True) == []


def test_a_silent_slurm_matters_to_those_who_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\necho no controller >&2; exit 1\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cluster.cancel_orphans(tmp_path, must_answer=False) == []
    with pytest.raises(InputError, match="no controller"):
        cluster.cancel_orphans(tmp_path, must_answer=True)


def test_what_a_command_said_before_its_time_was_over_is_told():
    command = ["sh", "-c", "echo no controller >&2; exec sleep 60"]
    with pytest.raises(InputError, match=r"^sh does not answer \(no controller\): type this again"):
        cluster.answer(command, seconds=0.5)
    with pytest.raises(InputError, match=r"^sleep does not answer \(nothing in 0.5 seconds\)"):
        cluster.answer(["sleep", "60"], seconds=0.5)


def test_each_job_claims_another_gpu(tmp_path: Path) -> None:
    seen = {"CUDA_VISIBLE_DEVICES": "3,5", "TMPDIR": str(tmp_path)}
    jobs = [start(CLAIM, **seen) for _ in range(2)]
    assert sorted(first_line(job) for job in jobs) == ["3", "5"]
    third = start(CLAIM, **seen)
    assert first_line(third) in ("3", "5"), "more jobs than GPUs share them"
    third.communicate()
    jobs[0].communicate()
    free = {"3", "5"} - {claimed(jobs[1], tmp_path)}
    again = start(CLAIM, **seen)
    assert {first_line(again)} == free
    again.communicate(), jobs[1].communicate()


def claimed(process: subprocess.Popen, folder: Path) -> str:
    """The GPU whose lock the process has open."""
    names = {os.readlink(link) for link in Path(f"/proc/{process.pid}/fd").iterdir()}
    return next(name for name in names if name.startswith(f"{folder}/lottery-gpu")).split("-")[-1]


@pytest.mark.parametrize("environment", [{"CUDA_VISIBLE_DEVICES": "2"}, {"SLURM_JOB_ID": "1"}])
def test_what_was_assigned_is_left_alone(environment: dict[str, str], tmp_path: Path) -> None:
    job = start(CLAIM, TMPDIR=str(tmp_path), **environment)
    assert first_line(job) == environment.get("CUDA_VISIBLE_DEVICES", "None")
    job.communicate()
    assert not list(tmp_path.iterdir())
