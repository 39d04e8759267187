"""The device that a job computes on: which one, whether it can, and with what algorithms."""

import os
import platform
import re
import resource
from pathlib import Path

import torch

from bayesian_lottery import gpus
from bayesian_lottery.errors import InputError

DRIVER_FILE = Path("/proc/driver/nvidia/version")
OLDEST_DRIVERS = {12: 525, 13: 580}  # by the major version of the CUDA that torch is built for
OTHER_LOCK = "make environment LOCK=requirements-cuda12.lock"
STEPS_AHEAD = 20


def choose(device: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda"; "auto" is a GPU where torch can use one.

    Raises:
        InputError: "cuda" was asked for, or "auto" where a GPU was promised, and torch cannot use
            it; says why, and what to do.
    """
    if device == "cpu":
        return torch.device("cpu")
    fault = _fault()
    if fault is None:
        return torch.device("cuda")
    promise = "it asks for a GPU" if device == "cuda" else gpus.promised_gpu()
    if promise:
        raise InputError(
            f"device: {device!r}: {promise}, but {fault}; set device to 'cpu' to train without one."
        )
    if driver_version():
        print(f"This machine's GPU is not used: {fault}.", flush=True)
    return torch.device("cpu")


def _fault() -> str | None:
    """Why torch cannot use a GPU here; None if it can."""
    cuda = torch.version.cuda
    build = f"torch {torch.__version__} is built for CUDA {cuda}"
    if not torch.cuda.is_available():
        driver = driver_version()
        if driver is None:
            return "torch sees no CUDA device and there is no NVIDIA driver"
        oldest = OLDEST_DRIVERS.get(int(cuda.split(".")[0]) if cuda else 0)
        if oldest and int(driver.split(".")[0]) < oldest:
            needed = f"driver {oldest} or newer, and the driver here is {driver}"
            return f"{build}, which needs {needed}{_remedy()}"
        return f"torch sees no CUDA device, though the driver {driver} is there (see nvidia-smi)"
    capability = torch.cuda.get_device_capability()
    known = [architecture.partition("_")[2] for architecture in torch.cuda.get_arch_list()]
    least = min((divmod(int(number), 10) for number in known if number.isdigit()), default=(0, 0))
    if capability < least:
        name = torch.cuda.get_device_name()
        return (
            f"{build}, which needs compute capability {_dotted(least)} or newer, and "
            f"{name} has {_dotted(capability)}{_remedy()}"
        )
    return None


def _remedy() -> str:
    """The other lock, where this is not the environment that it makes."""
    newest = (torch.version.cuda or "").startswith("13")
    return f" ({OTHER_LOCK} installs a build for CUDA 12)" if newest else ""


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))


def driver_version() -> str | None:
    """The version of the NVIDIA driver that is loaded, such as "580.65.06"; None without one."""
    try:
        text = DRIVER_FILE.read_text()
    except OSError:
        return None
    version = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
    return version[0] if version else None


def name(device: torch.device) -> str:
    """The GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def precision(asked: str, device: torch.device) -> str:
    """The precision of activations, "float32" or "bfloat16", that `compute.precision` means.

    Raises:
        InputError: "bfloat16" was asked for, and the GPU can only emulate it.
    """
    gpu = device.type == "cuda"
    has_bfloat16 = not gpu or torch.cuda.is_bf16_supported(including_emulation=False)
    if asked == "bfloat16" and not has_bfloat16:
        raise InputError(
            f"compute.precision: 'bfloat16' needs a GPU of compute capability 8.0 or newer, which "
            f"{name(device)} is not; use 'auto' or 'float32'."
        )
    if asked == "auto":
        return "bfloat16" if gpu and has_bfloat16 else "float32"
    return asked


def describe(device: torch.device, asked_precision: str, deterministic: bool) -> str:
    """The device, what it runs, and how it computes: the first line of a job's log."""
    parts = [name(device)]
    if device.type == "cuda":
        capability = _dotted(torch.cuda.get_device_capability(device))
        parts += [f"compute capability {capability}", f"driver {driver_version() or 'unknown'}"]
    parts += [
        f"torch {torch.__version__}",
        f"{precision(asked_precision, device)} activations",
        f"{'deterministic' if deterministic else 'fastest'} algorithms",
    ]
    return f"training on {', '.join(parts)}"


def set_algorithms(deterministic: bool) -> None:
    """Let torch use algorithms only that give the same numbers when a run is made again, or any.

    Either way float32 means float32: torch would else let convolutions on GPUs round to TF32.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(deterministic)
    # Else torch first fills every tensor that an operation is about to write.
    # Its type is unknown, for torch puts a class of its own in the module's place.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    # Its backward pass has no deterministic algorithm; flash attention's has one.
    torch.backends.cuda.enable_cudnn_sdp(not deterministic)
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def peak_memory(device: torch.device) -> int:
    """Bytes: of the GPU that torch has reserved since the start, CUDA graphs' too; else of the
    process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def is_full(error: RuntimeError) -> bool:
    """Whether `error` says that the device's memory does not suffice, by whichever library."""
    signs = r"out of memory|_STATUS_ALLOC_FAILED|can't allocate memory"
    return isinstance(error, torch.OutOfMemoryError) or re.search(signs, str(error)) is not None


class Pace:
    """Keeps the CPU from running more than some steps ahead of a GPU.

    A signal is looked at between two steps of the CPU. If it had queued an epoch's steps by then,
    the time to save a checkpoint in would be over before they are done.
    """

    def __init__(self, device: torch.device):
        self.event = torch.cuda.Event() if device.type == "cuda" else None
        self.steps = 0

    def step(self) -> None:
        """Call once a step, after its work is queued."""
        self.steps += 1
        if self.event and self.steps % STEPS_AHEAD == 0:
            self.event.synchronize()  # with the steps before the last `STEPS_AHEAD`
            self.event.record()
