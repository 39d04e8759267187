"""What made a result: the code, the packages and the machine."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from bayesian_lottery.computation import VERSION
from bayesian_lottery.training import devices


def provenance(device: torch.device) -> dict:
    """What made a result: versions, machine, commit (with "+changes" if the tree had any)."""
    packages = ("torch", "torch-blue", "numpy", "safetensors")
    return {
        "computation": VERSION,
        "git_commit": _git_commit(),
        "device": devices.name(device),
        "host": platform.node(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _git_commit() -> str | None:
    def git(*arguments: str) -> str:
        folder = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
