"""Which device a job takes, what it refuses, and how it computes there.

There is no GPU here: what torch and the driver would say of one is put into their mouths.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bayesian_lottery import gpus, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.training import devices, jobs
from bayesian_lottery.training.engine import Plan

ROOT = Path(__file__).parents[2]
DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Wed Jan  1 00:00:00 UTC 2026\n"
PROMISES = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Make this machine one with the given driver and card."""
    for name in (*PROMISES, "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "DRIVER_FILE", tmp_path / "version")
    monkeypatch.setattr(torch.version, "cuda", "13.0")

    def become(driver=None, capability=None, **environment):
        if driver:
            devices.DRIVER_FILE.write_text(DRIVER.format(driver))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for name, answer in {
            "is_available": capability is not None,
            "get_device_capability": capability,
            "get_arch_list": ["sm_75", "sm_80", "sm_90", "sm_100", "compute_120"],
            "get_device_name": "a card",
            "is_bf16_supported": capability is not None and capability >= (8, 0),
        }.items():
            monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)

    return become


def test_auto_is_a_gpu_where_torch_can_use_one_and_else_the_cpu(machine):
    machine()
    assert devices.choose("auto").type == devices.choose("cpu").type == "cpu"
    machine("580.65.06", (9, 0))
    assert devices.choose("auto").type == devices.choose("cuda").type == "cuda"
    assert devices.choose("cpu").type == "cpu"


@pytest.mark.parametrize("name", PROMISES)
def test_auto_refuses_the_cpu_where_a_gpu_was_promised(machine, name):
    machine("550.54.15", **{name: "1"})
    with pytest.raises(InputError) as refusal:
        devices.choose("auto")
    sentence = str(refusal.value)
    assert f"device: 'auto': {name}=1 promises a GPU" in sentence
    assert (
        "CUDA 13.0, which needs driver 580 or newer, and the driver here is 550.54.15" in sentence
    )
    assert "make environment LOCK=requirements-cuda12.lock" in sentence and "'cpu'" in sentence
    assert devices.choose("cpu").type == "cpu"


@pytest.mark.parametrize("value", ["", "-1", "NoDevFiles"])
def test_a_gpu_that_was_hidden_is_not_promised(machine, value):
    machine("580.65.06", CUDA_VISIBLE_DEVICES=value, SLURM_JOB_GPUS="0")
    assert gpus.promised_gpu() is None
    assert devices.choose("auto").type == "cpu"


def test_a_gpu_that_a_job_claimed_by_itself_is_not_promised(machine, monkeypatch):
    machine("550.54.15")
    monkeypatch.setattr(gpus, "visible_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(gpus, "_unpromised", set())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that the claim goes with this test
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    gpus.claim_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    assert devices.choose("auto").type == "cpu"


def test_a_gpu_that_is_not_used_is_said(machine, capsys):
    machine("550.54.15")
    devices.choose("auto")
    assert "GPU is not used: torch" in capsys.readouterr().out
    machine(capability=(6, 1))
    devices.choose("auto")
    assert "needs compute capability 7.5 or newer, and a card has 6.1" in capsys.readouterr().out
    with pytest.raises(
        InputError, match=r"'cuda': it asks for a GPU, but .* a card has 6\.1 \(make"
    ):
        devices.choose("cuda")


def test_without_a_driver_there_is_no_word_of_it(machine, capsys):
    machine()
    devices.choose("auto")
    assert capsys.readouterr().out == ""
    with pytest.raises(
        InputError, match=r"'cuda': .* there is no NVIDIA driver; set device to 'cpu'"
    ):
        devices.choose("cuda")


def test_the_build_for_older_drivers_does_not_recommend_itself(machine, monkeypatch):
    machine("470.10.1", CUDA_VISIBLE_DEVICES="0")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    with pytest.raises(InputError, match=r"CUDA 12\.8, which needs driver 525 or newer") as refusal:
        devices.choose("auto")
    assert "LOCK" not in str(refusal.value)


@pytest.mark.slow
def test_a_job_that_was_promised_a_gpu_ends_in_a_sentence(tmp_path):
    """The script as SLURM would start it; this machine's own torch and driver."""
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    names = {"metrics": "m", "history": "h", "weights": "w"}
    outputs = {name: str(tmp_path / file) for name, file in names.items()}
    files = [{"inputs": {"data": "none", "initial": "none"}, "outputs": outputs}]
    tasks = json.dumps([{"node": {}, "settings": {}}])
    run = subprocess.run(
        [sys.executable, ROOT / "scripts/train.py", "--tasks", tasks, "--files", json.dumps(files)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "0", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "device: 'auto': CUDA_VISIBLE_DEVICES=0 promises a GPU, but torch sees no" in run.stderr


def test_bfloat16_is_for_cards_that_have_it(machine):
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    machine("580.65.06", (8, 0))
    assert devices.precision("auto", gpu) == "bfloat16"
    machine("580.65.06", (7, 5))
    assert devices.precision("auto", gpu) == devices.precision("float32", gpu) == "float32"
    with pytest.raises(InputError, match=r"compute\.precision: 'bfloat16' needs .* a card is not"):
        devices.precision("bfloat16", gpu)
    assert devices.precision("bfloat16", cpu) == "bfloat16"
    assert devices.precision("auto", cpu) == "float32"


def test_a_log_begins_with_the_device_and_how_it_computes(machine):
    machine("580.65.06", (9, 0))
    assert devices.describe(torch.device("cuda"), "auto", True) == (
        "training on a card, compute capability 9.0, driver 580.65.06, "
        f"torch {torch.__version__}, bfloat16 activations, deterministic algorithms"
    )
    words = devices.describe(torch.device("cpu"), "auto", False)
    assert words.endswith("float32 activations, fastest algorithms") and "driver" not in words


@pytest.fixture
def algorithms():
    yield
    devices.set_algorithms(True)


def test_determinism_is_strict_attention_included_and_float32_is_float32(algorithms):
    for deterministic in (False, True):
        devices.set_algorithms(deterministic)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.benchmark != deterministic
        assert torch.backends.cuda.cudnn_sdp_enabled() != deterministic
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")


def test_jobs_take_what_absence_means():
    assert Plan().deterministic == study.ABSENT["compute"]["deterministic"]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. And so on"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 1 byte"),
    ],
)
def test_whichever_library_finds_the_memory_full_the_sentence_is_the_same(monkeypatch, error):
    def fill(*_):
        raise error

    monkeypatch.setattr(jobs, "train_nodes", fill)
    with pytest.raises(InputError, match=r"device: its memory does not suffice \(.+\); lower"):
        jobs.run_script([], "cuda", 1.0)


def test_other_errors_stay_what_they_are(monkeypatch):
    def fail(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(jobs, "train_nodes", fail)
    with pytest.raises(RuntimeError, match="illegal"):
        jobs.run_script([], "cuda", 1.0)


def test_the_cpu_stays_within_two_paces_of_the_gpu(monkeypatch):
    """Against a device that never finishes: an event says how many steps it was recorded after."""
    done = []

    class Event:
        recorded = 0

        def record(self):
            self.recorded = pace.steps

        def synchronize(self):
            done.append((pace.steps, self.recorded))

    monkeypatch.setattr(torch.cuda, "Event", Event)
    pace = devices.Pace(torch.device("cuda"))
    for _ in range(100):
        pace.step()
    ahead = devices.STEPS_AHEAD
    assert done == [(step, step - ahead) for step in range(ahead, 101, ahead)]
    assert devices.Pace(torch.device("cpu")).event is None
