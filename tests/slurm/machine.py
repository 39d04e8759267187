"""What a test cluster needs of the machine: packages, root and a configuration that is its own."""

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
CONFIGURATION = Path("/etc/slurm")
MARKER = "bayesian-lottery test cluster, state in"


class ClusterError(Exception):
    """The test cluster cannot do what was asked; the message says why."""


def which(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin")  # daemons


def obstacle() -> str | None:
    """What keeps a cluster from starting on this machine, as a sentence; None if nothing does."""
    missing = [command for command in COMMANDS if which(command) is None]
    if missing:
        return (
            f"SLURM is not installed ({', '.join(missing)} not found); "
            "as root, this brings it: python3 tests/slurm/cluster.py install"
        )
    if os.geteuid() != 0:
        return f"The test cluster needs root: it writes to {CONFIGURATION} and makes devices."
    for name in ("slurm.conf", "gres.conf"):
        path = CONFIGURATION / name
        if path.exists() and MARKER not in path.read_text():
            return f"{path} was not written by the test cluster and is left as it is."
    return None


def install() -> None:
    """Install the packages where their commands are missing."""
    if all(which(command) for command in COMMANDS):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"Needs root and apt-get; ask for the packages {' '.join(PACKAGES)}.")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-q"], env=environment, check=True)
    command = ["apt-get", "install", "-qy", "--no-install-recommends", *PACKAGES]
    subprocess.run(command, env=environment, check=True)
