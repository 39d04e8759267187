"""The GPUs that this process sees: which it was given, and which it takes.

The Snakefile imports this module; it needs no torch.
"""

import fcntl
import itertools
import os
import tempfile
from pathlib import Path
from typing import IO


def claim_gpu() -> None:
    """Where this process sees several GPUs, keep one that no other job of the user's has claimed.

    So the jobs of `snakemake --cores 4 --resources gpu=4` take a GPU each: Snakemake counts GPUs,
    but does not say which. Call this before CUDA starts; the claim ends with the process. Where all
    are claimed, GPUs are shared. A SLURM job shares out the GPUs that it was given, and no others.
    """
    visible = visible_gpus()
    if len(visible) < 2:
        return
    chosen = visible[os.getpid() % len(visible)]
    for gpu in visible:
        owner = (
            f"{os.getuid()}-{os.environ.get('SLURM_JOB_ID', '')}"  # SLURM may count from 0 in each
        )
        path = Path(tempfile.gettempdir()) / f"lottery-gpu-{owner}-{gpu.replace('/', '_')}"
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            continue
        _claims.append(file)  # kept open, and so locked
        chosen = gpu
        break
    if "CUDA_VISIBLE_DEVICES" not in os.environ:
        _unpromised.add(chosen)
    os.environ["CUDA_VISIBLE_DEVICES"] = chosen


_claims: list[IO[str]] = []
_unpromised: set[str] = set()  # values of CUDA_VISIBLE_DEVICES that are this module's own


def promised_gpu() -> str | None:
    """What says that this process was given a GPU, in words; None if nothing does."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        value = os.environ["CUDA_VISIBLE_DEVICES"]
        promised = visible_gpus() and value not in _unpromised
        return f"CUDA_VISIBLE_DEVICES={value} promises a GPU" if promised else None
    for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE"):
        if os.environ.get(name, "0") not in ("", "0"):
            return f"{name}={os.environ[name]} promises a GPU"
    return None


def visible_gpus() -> list[str]:
    """What may be written into CUDA_VISIBLE_DEVICES, one GPU each."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        entries = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
        named = (entry.strip() for entry in entries)
        # As CUDA reads it: what follows something that is no GPU does not count.
        usable = itertools.takewhile(lambda gpu: gpu not in ("-1", "NoDevFiles"), named)
        return [gpu for gpu in usable if gpu]
    if "SLURM_JOB_ID" in os.environ:
        return []
    count = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    return [str(gpu) for gpu in range(count)]
