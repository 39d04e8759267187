"""Time and memory of a training step against what one would write without this project.

    python benchmarks/training.py --quick
    python benchmarks/training.py --models resnet20 vgg11 --csv steps.csv

Every case (see cases.py) is a process of its own, so that its peak memory is its own. It is
measured beside its reference, the two taking their steps in turn, so that a busy machine slows both
alike: "speed_up" and "memory_ratio" are of that pair. "of_ceiling" is the share of the machine's
own largest matrix product, in the same precision, that the step's multiply-adds reach. Images are
made up, in CIFAR-10's shape. On a CPU each step is timed; on a GPU blocks of 50 steps are, with one
wait for the GPU at the end of each.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from cases import BAYESIAN, DETERMINISTIC, QUICK, build

SCRIPTS = Path(__file__).parents[1] / "scripts"
MODELS = ("resnet20", "resnet18", "vgg11", "vit_tiny")
IMAGE_SHAPE = (3, 32, 32)
# Steps before the timed ones; on a GPU three, one that may be recorded, and one replayed.
UNTIMED = {"cpu": 2, "cuda": 5}
# Steps between two waits for the device: on a GPU many, so that it may fall behind as in training.
BLOCK = {"cpu": 1, "cuda": 50}
# Settings of `compute` under which whole epochs are timed on a GPU: what each costs or gains.
GPU_EPOCHS = [
    {"deterministic": deterministic, "capture": capture}
    for deterministic in (True, False)
    for capture in (False, True)
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="MODEL")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="only these beside the first")
    parser.add_argument("--quick", action="store_true", help="resnet20, few cases, 3 times each")
    parser.add_argument("--inference", nargs="+", default=["deterministic", "bayesian"])
    parser.add_argument("--samples", type=int, default=10, help="weight samples (10)")
    parser.add_argument("--batch", type=int, help="images (128; for vit_tiny on a CPU 32)")
    parser.add_argument("--steps", type=int, default=5, help="times a case is timed (5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (all cores)")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's loader (2)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--sweep", action="store_true", help="ours, by samples a pass, instead")
    parser.add_argument("--profile", action="store_true", help="what bounds each case, instead")
    parser.add_argument("--epochs", action="store_true", help="whole epochs of ours, instead")
    parser.add_argument("--start", action="store_true", help="start-up time of a job, instead")
    parser.add_argument("--csv", type=Path, help="write the table here too")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.worker)
    if options.start:
        return start_up(max(options.steps, 3))
    if options.quick:
        options.models, options.cases, options.steps = ["resnet20"], QUICK, 3

    ceilings = json.loads(run_worker({"kind": "ceilings", **machine(options)}))
    print(f"{platform.node()}, {processor()}, {options.threads} threads, {options.samples} samples")
    print(", ".join(f"{name} {value:.4g}" for name, value in ceilings.items()))
    rows = []
    for model in options.models:
        for inference in options.inference:
            batch = 32 if model.startswith("vit") and on_cpu(options.device) else 128
            shared = {"model": model, "inference": inference, "batch": options.batch or batch}
            shared |= {"samples": options.samples if inference == "bayesian" else 1}
            shared |= {"workers": options.workers, **machine(options)}
            rows += measure(shared, ceilings, options)
    if options.csv and rows:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def machine(options: argparse.Namespace) -> dict:
    return {"threads": options.threads, "device": options.device}


def measure(shared: dict, ceilings: dict, options: argparse.Namespace) -> list[dict]:
    """Measure all cases of one model and inference, printing as it goes."""
    cases = DETERMINISTIC if shared["inference"] == "deterministic" else BAYESIAN
    if options.sweep:
        sizes = sorted({1, 2, 5, shared["samples"]} if shared["samples"] > 1 else {1})
        cases = {f"ours, {k} a pass": {"kind": "ours", "samples_per_pass": k} for k in sizes}
    if on_cpu(options.device):
        cases = {name: case for name, case in cases.items() if not case.get("capture")}
    if options.cases:
        first = next(iter(cases))
        cases = {name: case for name, case in cases.items() if name in (first, *options.cases)}
    cases = {name: {**shared, **case} for name, case in cases.items()}
    if options.epochs:
        ways = [{}] if on_cpu(options.device) else GPU_EPOCHS
        for way in ways:
            case = {**shared, "kind": "epochs", "way": way}
            print(run_worker(case).splitlines()[-1], flush=True)  # after those of the training
        return []
    if options.profile:
        for name, case in cases.items():
            table = run_worker({**case, "profile": True})
            print(f"\n{shared['model']}, {shared['inference']}, {name}\n{table}", flush=True)
        return []
    (reference, first), *others = cases.items()
    rows = []
    for name, case in others or [(reference, first)]:
        pair = {reference: first, name: case}
        found = take_turns(pair, options.steps)
        for which in [reference, name] if not rows and others else [name]:
            rows.append(row_of(which, pair[which], found[which], found[reference], ceilings))
            if len(rows) == 1:
                print(f"\n| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
            print(f"| {' | '.join(map(str, rows[-1].values()))} |", flush=True)
    return rows


def row_of(name: str, case: dict, own: dict, reference: dict, ceilings: dict) -> dict:
    median = statistics.median(own["seconds"])
    ratios = [a / b for a, b in zip(reference["seconds"], own["seconds"], strict=True)]
    precision = "bfloat16" if own["bfloat16"] else "float32"
    ceiling = max(rate for name, rate in ceilings.items() if name.startswith(precision))
    return {
        "model": case["model"],
        "inference": case["inference"],
        "batch": case["batch"],
        "case": name,
        "ms": round(1e3 * median, 1),
        "ms_least": round(1e3 * min(own["seconds"]), 1),
        "speed_up": round(statistics.median(ratios), 2),
        "peak_gb": round(own["peak_bytes"] / 1e9, 2),
        "memory_ratio": round(own["peak_bytes"] / reference["peak_bytes"], 2),
        "gflop_s": round(own["operations"] / median / 1e9, 1),
        "of_ceiling": round(own["operations"] / median / 1e12 / ceiling, 2),
    }


# Processes


def command(case: dict) -> dict:
    """Arguments of subprocess for a worker on `case`."""
    # Passive: else the threads of the case whose turn it is not would spin.
    waiting = {"OMP_NUM_THREADS": str(case["threads"]), "OMP_WAIT_POLICY": "passive"}
    return {
        "args": [sys.executable, __file__, "--worker", json.dumps(case)],
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
        try:
            workers[name].stdin.write(what + "\n")
            workers[name].stdin.flush()
            return json.loads(workers[name].stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            for worker in workers.values():
                worker.kill()
            sys.exit(f"{name}: the process has ended, perhaps for want of memory.")

    times = {name: [] for name in cases}
    for name in cases:
        ask(name, "warm up")
    for _ in range(steps):
        for name in cases:
            times[name].append(ask(name, "steps")["seconds"])
    found = {name: {"seconds": times[name], **ask(name, "end")} for name in cases}
    for worker in workers.values():
        worker.communicate()
    return found


def work(case: dict) -> None:
    """A worker: do what each line on standard input says; answer in JSON."""
    import torch

    from bayesian_lottery.training import devices

    torch.set_num_threads(case["threads"])
    device = torch.device("cpu" if on_cpu(case["device"]) else "cuda")
    if case["kind"] == "ceilings":
        return print(json.dumps(ceilings_of(device)))
    if case["kind"] == "epochs":
        return epochs(case, device)
    step = build(case, device)
    if case.get("profile"):
        return print(profile(step, device))
    for line in sys.stdin:
        if line == "warm up\n":
            answer = {"seconds": seconds_of(step, device, UNTIMED[device.type])}
        elif line == "steps\n":
            answer = {"seconds": seconds_of(step, device, BLOCK[device.type])}
        else:
            precision = devices.precision(case.get("precision", "auto"), device)
            answer = {
                "peak_bytes": devices.peak_memory(device),
                "operations": operations(case),
                "bfloat16": case["kind"] == "ours" and precision == "bfloat16",
            }
        print(json.dumps(answer), flush=True)


def seconds_of(function, device, count: int = 1) -> float:
    """Seconds that each of `count` calls of `function` takes, until the device is done with all."""
    import torch

    started = time.perf_counter()
    for _ in range(count):
        function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / count


def operations(case: dict) -> int:
    """Floating-point operations of a step's convolutions and linear layers, backward included."""
    from bayesian_lottery import models
    from bayesian_lottery.training.engine import multiply_adds

    model = models.build(case["model"], IMAGE_SHAPE, 10)
    return 2 * 3 * multiply_adds(model, IMAGE_SHAPE) * case["batch"] * case["samples"]


def ceilings_of(device) -> dict[str, float]:
    """The best rates of a large matrix product in each precision, and of a large copy.

    A product is computed as such and as a 1x1 convolution, which some CPUs do faster.
    """
    import torch

    size = 8192 if device.type == "cuda" else 2048
    found = {}
    for name in ("float32", "bfloat16"):
        left, right = torch.randn(2, size, size, device=device).to(getattr(torch, name))
        pixels, kernel = left.view(16, 1, -1, size).permute(0, 3, 1, 2), right[:, :, None, None]
        for way, product in {
            "as a product": partial(torch.matmul, left, right),
            "as a convolution": partial(torch.conv2d, pixels, kernel),
        }.items():
            shortest = min(seconds_of(product, device) for _ in range(8))
            found[f"{name} TFLOP/s {way}"] = 2 * size**3 / shortest / 1e12
    source = torch.ones(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    shortest = min(seconds_of(lambda: target.copy_(source), device) for _ in range(8))
    found["copy GB/s"] = 2 * source.numel() * 4 / shortest / 1e9
    return found


def epochs(case: dict, device) -> None:
    """Print the seconds of the second of two epochs by `loop.train`, 50,000 + 10,000 images."""
    import torch

    from bayesian_lottery import models
    from bayesian_lottery.data import decoded
    from bayesian_lottery.inference import networks
    from bayesian_lottery.training import devices, loop
    from bayesian_lottery.training.curricula import Curriculum

    way = case["way"]
    devices.set_algorithms(way.get("deterministic", False))
    stream = torch.Generator().manual_seed(0)

    def split(count: int) -> decoded.Split:
        images = torch.randint(256, (count, *IMAGE_SHAPE), dtype=torch.uint8, generator=stream)
        labels = torch.randint(10, (count,), generator=stream)
        return decoded.Split(images.to(device), labels.to(device))

    train, test = split(50_000), split(10_000)
    classes = tuple("0123456789")
    images = decoded.Images(
        "made_up", classes, train, test, *decoded.channel_statistics(train.images)
    )
    samples = case["samples"]
    settings = {
        "compute": way,
        "inference": case["inference"],
        "curriculum": vars(Curriculum(2, "adam", 1e-3, 1e-4, case["batch"], (), 0.1, 0, 0.9)),
        "validation": 0,
        "augment": {"flip": True, "crop": 4},
        "bayesian": {"samples": samples, "heat": 0.1, "likelihood": "categorical"},
        "evaluation": {"samples": samples, "passes": 0, "every": 1, "batch_size": 1000, "bins": 10},
    }
    if case["inference"] == "deterministic":
        del settings["bayesian"]
    template = models.build(case["model"], IMAGE_SHAPE, 10, seed=0).to(device)
    options = {"initial_std": 0.01, "prior_std": 1.0}
    network = networks.build(case["inference"], template, options)
    (record,) = loop.train([network], images, settings, [["benchmark"]])
    history = record.history
    seconds = history[1]["seconds"] - history[0]["seconds"]
    words = "".join(f", {key} {value}" for key, value in way.items())
    print(f"{case['model']}, {case['inference']}{words}: {seconds:.2f} s an epoch and its test")


def profile(step, device) -> str:
    """The operations that take most time of a step on the device, as a table."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    for _ in range(UNTIMED[device.type]):
        step()
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profiler(activities=activities) as found:
        step()
    key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return found.key_averages().table(sort_by=key, row_limit=12, max_name_column_width=50)


def start_up(repeats: int) -> None:
    """Seconds until a training script has its imports, alone and forked from a warm Python."""
    program = "from bayesian_lottery.running.warm import delegate; delegate(); import torch; "
    program += "from bayesian_lottery.training import jobs; torch.optim.Adam([torch.zeros(1)])"
    timer = (
        "import subprocess, sys, time, tempfile, pathlib\n"
        f"path = pathlib.Path(tempfile.mkdtemp()) / 'job.py'; path.write_text({program!r})\n"
        "run = lambda: subprocess.run([sys.executable, path], check=True)\n"
        "run()\n"  # waits for the warm Python, or for the disk
        f"for _ in range({repeats}):\n"
        "    started = time.perf_counter(); run(); print(time.perf_counter() - started)\n"
    )
    print("\n| start-up of a job | seconds, median |\n| --- | --- |")
    for name, prefix in {
        "alone": [],
        "forked by scripts/warm.py": [sys.executable, str(SCRIPTS / "warm.py")],
    }.items():
        arguments = [*prefix, sys.executable, "-c", timer]
        output = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
        print(f"| {name} | {statistics.median(map(float, output.split())):.2f} |", flush=True)


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


if __name__ == "__main__":
    main()
