"""Processes of benchmarks: each case in one of its own, two of them taking turns."""

import json
import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")


def command(case: dict) -> dict:
    """Arguments of subprocess for a worker on `case`."""
    # Passive: else the threads of the case whose turn it is not would spin.
    waiting = {"OMP_NUM_THREADS": str(case["threads"]), "OMP_WAIT_POLICY": "passive"}
    return {
        "args": [sys.executable, WORKER, json.dumps(case)],
        "env": {**os.environ, **waiting},
        "text": True,
        "stdout": subprocess.PIPE,
    }


def run_worker(case: dict) -> str:
    """What a worker prints that needs no turns."""
    done = subprocess.run(**command(case))
    if done.returncode:
        sys.exit(f"{case}: the process failed.")
    return done.stdout


def take_turns(cases: dict[str, dict], steps: int) -> dict[str, dict]:
    """The seconds of `steps` steps of each case, its peak memory and its operations a step."""
    workers = {
        name: subprocess.Popen(**command(case), stdin=subprocess.PIPE)
        for name, case in cases.items()
    }

    def ask(name: str, what: str) -> dict:
        inward, outward = workers[name].stdin, workers[name].stdout
        assert inward and outward  # both are pipes
        try:
            inward.write(what + "\n")
            inward.flush()
            return json.loads(outward.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            for worker in workers.values():
                worker.kill()
            sys.exit(f"{name}: the process has ended, perhaps for want of memory.")

    times: dict[str, list[float]] = {name: [] for name in cases}
    for name in cases:
        ask(name, "warm up")
    for _ in range(steps):
        for name in cases:
            times[name].append(ask(name, "steps")["seconds"])
    found = {name: {"seconds": times[name], **ask(name, "end")} for name in cases}
    for worker in workers.values():
        worker.communicate()
    return found


def on_cpu(device: str) -> bool:
    """Whether `device` means the CPU here."""
    import torch

    return device == "cpu" or (device == "auto" and not torch.cuda.is_available())


def processor() -> str:
    """The CPU's name, and the GPU's if there is one."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ", ".join([*names[:1], *gpu])
