"""A process of a benchmark: what it does with its case, a JSON object that is its argument.

It answers each line on its standard input in JSON, or prints what it has measured and ends.
"""

import json
import statistics
import sys
import time
from functools import partial
from itertools import pairwise

import torch
from cases import build
from processes import on_cpu

from bayesian_lottery import models
from bayesian_lottery.training import devices

IMAGE_SHAPE = (3, 32, 32)
# Steps before the timed ones; on a GPU three, one that may be recorded, and one replayed.
UNTIMED = {"cpu": 2, "cuda": 5}
# Steps between two waits for the device: on a GPU many, so that it may fall behind as in training.
BLOCK = {"cpu": 1, "cuda": 50}


def work(case: dict) -> None:
    """A worker: do what each line on standard input says; answer in JSON."""
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
    started = time.perf_counter()
    for _ in range(count):
        function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / count


def operations(case: dict) -> int:
    """Floating-point operations of a step's convolutions and linear layers, backward included."""
    from bayesian_lottery.training.engine import multiply_adds

    model = models.build(case["model"], IMAGE_SHAPE, 10)
    return 2 * 3 * multiply_adds(model, IMAGE_SHAPE) * case["batch"] * case["samples"]


def ceilings_of(device) -> dict[str, float]:
    """The best rates of a large matrix product in each precision, and of a large copy.

    A product is computed as such and as a 1x1 convolution, which some CPUs do faster.
    """
    size = 8192 if device.type == "cuda" else 1024
    found = {}
    for name in ("float32", "bfloat16"):
        left, right = torch.randn(2, size, size, device=device).to(getattr(torch, name))
        pixels, kernel = left.view(16, 1, -1, size).permute(0, 3, 1, 2), right[:, :, None, None]
        for way, product in {
            "as a product": partial(torch.matmul, left, right),
            "as a convolution": partial(torch.conv2d, pixels, kernel),
        }.items():
            found[f"{name} TFLOP/s {way}"] = 2 * size**3 / shortest(product, device) / 1e12
    source = torch.ones(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    seconds = shortest(lambda: target.copy_(source), device)
    found["copy GB/s"] = 2 * source.numel() * 4 / seconds / 1e9
    return found


def shortest(function, device) -> float:
    """Seconds of the quickest of eight calls; of fewer where these take more than a second, as
    products in bfloat16 do on CPUs that have none."""
    taken = [seconds_of(function, device)]
    while len(taken) < 8 and sum(taken) < 1:
        taken.append(seconds_of(function, device))
    return min(taken)


def epochs(case: dict, device) -> None:
    """Print the seconds of the second of two epochs, with its test of a fifth as many images."""
    from bayesian_lottery.data import decoded
    from bayesian_lottery.inference import networks
    from bayesian_lottery.training import loop
    from bayesian_lottery.training.curricula import Curriculum

    way = case["way"]
    devices.set_algorithms(way.get("deterministic", False))
    stream = torch.Generator().manual_seed(0)

    def split(count: int) -> decoded.Split:
        images = torch.randint(256, (count, *IMAGE_SHAPE), dtype=torch.uint8, generator=stream)
        labels = torch.randint(10, (count,), generator=stream)
        return decoded.Split(images.to(device), labels.to(device))

    train, test = split(case["images"]), split(case["images"] // 5)
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
        "evaluation": {"samples": samples, "passes": 1, "every": 1, "batch_size": 1000, "bins": 10},
    }
    if case["inference"] == "deterministic":
        del settings["bayesian"]
    template = models.build(case["model"], IMAGE_SHAPE, 10, seed=0).to(device)
    options = {"initial_std": 0.01, "prior_std": 1.0}
    network = networks.build(case["inference"], template, options)
    (record,) = loop.train([network], images, settings, [["benchmark"]])
    history = record.history
    seconds = history[1]["seconds"] - history[0]["seconds"]
    print(json.dumps({"seconds": round(seconds, 3)}))


def profile(step, device) -> str:
    """The ten operations that take most time of a step, as JSON; of a GPU, how busy it is too.

    `gaps` are the pauses between its kernels: it waits for launches where they are long.
    """
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    for _ in range(UNTIMED[device.type]):
        step()
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profiler(activities=activities) as found:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    key = f"self_{'device' if device.type == 'cuda' else 'cpu'}_time_total"
    events = sorted(found.key_averages(), key=lambda event: -getattr(event, key))
    total = sum(getattr(event, key) for event in events)
    rows = [
        {"operation": e.key[:60], "calls": e.count, "ms": round(getattr(e, key) / 1e3, 3),
         "share": round(getattr(e, key) / total, 3)}
        for e in events[:10]
    ]  # fmt: skip
    answer: dict[str, object] = {"top": rows}
    kernels = sorted(
        (event.time_range.start, event.time_range.end)
        for event in found.events()
        if event.device_type == DeviceType.CUDA
    )
    if kernels:
        gaps = [max(0, later[0] - sooner[1]) for sooner, later in pairwise(kernels)]
        span = max(end for _, end in kernels) - kernels[0][0]
        answer["kernels"] = len(kernels)
        answer["busy"] = round(1 - sum(gaps) / span, 3)
        answer["median_gap_us"] = round(statistics.median(gaps or [0]), 2)
    return json.dumps(answer)


if __name__ == "__main__":
    work(json.loads(sys.argv[1]))
