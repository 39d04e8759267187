"""Time and memory of a training step against what one would write without this project.

    python benchmarks/training.py --quick
    python benchmarks/training.py --models resnet20 vgg11 --csv steps.csv

Deterministic networks are compared with a plain PyTorch loop fed by a DataLoader with torchvision's
transforms, Bayesian ones with torch-blue's own forward pass under vmap and its sampled
Kullback-Leibler loss. Every case is a process of its own, so that its peak memory is its own, and
the processes take their steps in turn, so that a busy machine slows all of them alike. All cases of
a model are in memory at once, 20 GB and more for some: name few of them by --cases on a small
machine. Images are made up, in CIFAR-10's shape.
"""

import argparse
import csv
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).parents[1] / "scripts"
IMAGES = 2000  # made up; enough that none is still in a cache when its turn comes again
MODELS = ("resnet20", "resnet18", "vgg11", "vit_tiny")

# Cases by name; the first of each list is what the others' ratios refer to.
DETERMINISTIC = {
    "plain loop": {"kind": "plain"},
    "ours": {"kind": "ours"},
    "ours, bfloat16": {"kind": "ours", "precision": "bfloat16"},
}
BAYESIAN = {
    "torch-blue": {"kind": "torch_blue"},
    "torch-blue, freed memory kept": {"kind": "torch_blue", "keep_memory": True},
    "ours": {"kind": "ours"},
    "ours, recomputing": {"kind": "ours", "recompute": True},
    "ours, recomputing, elbo": {"kind": "ours", "recompute": True, "likelihood": "elbo"},
    "ours, bfloat16": {"kind": "ours", "precision": "bfloat16"},
    "ours, recomputing, bfloat16": {"kind": "ours", "recompute": True, "precision": "bfloat16"},
}
QUICK = ("plain loop", "torch-blue", "ours", "ours, recomputing")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="MODEL")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="only these of the cases")
    parser.add_argument("--quick", action="store_true", help="resnet20, few cases, 3 steps each")
    parser.add_argument("--inference", nargs="+", default=["deterministic", "bayesian"])
    parser.add_argument("--samples", type=int, default=10, help="weight samples (10)")
    parser.add_argument("--batch", type=int, help="images (128; for vit_tiny on a CPU 32)")
    parser.add_argument("--steps", type=int, default=5, help="timed steps a case, after two (5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (all cores)")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's loader (2)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--sweep", action="store_true", help="ours, by samples a pass, instead")
    parser.add_argument("--profile", action="store_true", help="what bounds each case, instead")
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

    print(f"{platform.node()}, {processor()}, {options.threads} threads, {options.samples} samples")
    rows = []
    for model in options.models:
        for inference in options.inference:
            rows += compare(model, inference, options)
    if options.csv and rows:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def compare(model: str, inference: str, options: argparse.Namespace) -> list[dict]:
    """Measure all cases of one model and print their table."""
    cases = dict(DETERMINISTIC if inference == "deterministic" else BAYESIAN)
    if options.sweep:
        if inference == "deterministic":
            return []
        sizes = sorted({1, 2, 5, options.samples})
        cases = {f"ours, {k} a pass": {"kind": "ours", "samples_per_pass": k} for k in sizes}
    if options.cases:
        cases = {name: case for name, case in cases.items() if name in options.cases}
    batch = options.batch or (32 if model.startswith("vit") and on_cpu(options.device) else 128)
    shared = {"model": model, "inference": inference, "batch": batch, "profile": options.profile}
    shared |= {k: vars(options)[k] for k in ("samples", "threads", "workers", "device")}
    # Passive: else the threads of the cases whose turn it is not would spin.
    waiting = {"OMP_NUM_THREADS": str(options.threads), "OMP_WAIT_POLICY": "passive"}
    environment = {**os.environ, **waiting}
    workers = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--worker", json.dumps({**shared, **case})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )
        for name, case in cases.items()
    }  # fmt: skip

    def ask(name: str, what: str) -> dict:
        try:
            workers[name].stdin.write(what + "\n")
            workers[name].stdin.flush()
            return json.loads(workers[name].stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            for worker in workers.values():
                worker.kill()
            sys.exit(f"{model}, {name}: the process has ended, perhaps for want of memory.")

    times = {name: [] for name in cases}
    for index in range(2 + (0 if options.profile else options.steps)):
        for name in cases:
            answer = ask(name, "step")
            if index >= 2:
                times[name].append(answer["seconds"])
    last = {name: ask(name, "profile" if options.profile else "end") for name in cases}
    for worker in workers.values():
        worker.communicate()
    if options.profile:
        for name, answer in last.items():
            print(f"\n{model}, {inference}, {name}\n{answer['table']}")
        return []
    reference = next(iter(cases))
    rows = [
        {
            "model": model,
            "inference": inference,
            "batch": batch,
            "case": name,
            "ms_median": round(1e3 * statistics.median(times[name]), 1),
            "ms_min": round(1e3 * min(times[name]), 1),
            "speed_up": round(
                statistics.median(
                    a / b for a, b in zip(times[reference], times[name], strict=True)
                ), 2
            ),
            "peak_gb": round(last[name]["peak_bytes"] / 1e9, 2),
            "memory_ratio": round(
                last[name]["peak_bytes"] / last[reference]["peak_bytes"], 2
            ),
        }
        for name in cases
    ]  # fmt: skip
    print(f"\n| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |", flush=True)
    return rows


# In a worker's process


def work(case: dict) -> None:
    """Take a step for every line "step" on standard input; answer in JSON."""
    import torch

    torch.set_num_threads(case["threads"])
    device = torch.device("cpu" if on_cpu(case["device"]) else "cuda")
    if case.get("keep_memory"):
        from bayesian_lottery.engine import keep_freed_memory

        keep_freed_memory()
    step = {"plain": plain_loop, "ours": ours, "torch_blue": torch_blue}[case["kind"]](case, device)
    for line in sys.stdin:
        if line == "step\n":
            started = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            answer = {"seconds": time.perf_counter() - started}
        elif line == "profile\n":
            answer = {"table": profile(step, device)}
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if device.type == "cuda":
                peak = torch.cuda.max_memory_allocated()
            answer = {"peak_bytes": peak}
        print(json.dumps(answer), flush=True)


def pictures():
    """Made-up uint8 images and labels."""
    import torch

    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=stream)
    return images, torch.randint(10, (IMAGES,), generator=stream)


def plain_loop(case: dict, device):
    """What a user would write: images through PIL and torchvision one by one, float32."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from bayesian_lottery import models

    images, labels = pictures()
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.25,) * 3),
        ]
    )

    class Pictures(Dataset):
        arrays = images.permute(0, 2, 3, 1).numpy()

        def __len__(self):
            return len(labels)

        def __getitem__(self, index):
            return transform(Image.fromarray(self.arrays[index])), labels[index]

    loader = DataLoader(
        Pictures(), case["batch"], shuffle=True, drop_last=True, num_workers=case["workers"],
        pin_memory=device.type == "cuda", persistent_workers=case["workers"] > 0,
    )  # fmt: skip
    model = models.build(case["model"], (3, 32, 32), 10, seed=0).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def batches():
        while True:
            yield from loader

    source = batches()

    def step():
        inputs, targets = (tensor.to(device, non_blocking=True) for tensor in next(source))
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()

    return step


def torch_blue(case: dict, device):
    """torch-blue under vmap; without running statistics, which it cannot keep."""
    import torch
    from torch_blue.vi import KullbackLeiblerLoss
    from torch_blue.vi.distributions import Categorical

    from bayesian_lottery import bayesian, models
    from bayesian_lottery.models.layers import BatchNorm2d

    module = bayesian.convert(models.build(case["model"], (3, 32, 32), 10, seed=0)).to(device)
    for layer in module.modules():
        if isinstance(layer, BatchNorm2d):
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    module.return_log_probs = True
    criterion = KullbackLeiblerLoss(Categorical(), dataset_size=50_000, heat=0.1)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    next_batch = our_batches(case, device)

    def step():
        inputs, targets = next_batch()
        optimizer.zero_grad()
        criterion(module(inputs, samples=case["samples"]), targets).backward()
        optimizer.step()

    return step


def our_batches(case: dict, device):
    """Batches as the training loop makes them."""
    import torch

    from bayesian_lottery.data import augment, channel_statistics, normalise

    images, labels = (tensor.to(device) for tensor in pictures())
    mean, std = channel_statistics(images)
    stream = torch.Generator(device).manual_seed(0)

    def next_batch():
        chosen = torch.randint(IMAGES, (case["batch"],), device=device)
        inputs = augment(images[chosen], stream, flip=True, crop=4)
        return normalise(inputs, mean, std), labels[chosen]

    return next_batch


def ours(case: dict, device):
    """The body of `training.train`."""
    import torch

    from bayesian_lottery import masks, models, networks
    from bayesian_lottery.curricula import Curriculum
    from bayesian_lottery.engine import Engine, Plan, keep_freed_memory

    if device.type == "cpu":
        keep_freed_memory()
    template = models.build(case["model"], (3, 32, 32), 10, seed=0).to(device)
    network = networks.build(case["inference"], template, {"initial_std": 0.01, "prior_std": 1.0})
    network.load(network.state(), masks.ones(models.prunable(template)))
    keys = ("samples_per_pass", "recompute", "precision")
    engine = Engine(network, (3, 32, 32), Plan(**{k: case[k] for k in keys if k in case}))
    curriculum = Curriculum(1, "adam", 1e-3, 1e-4, case["batch"], (), 0.1, 0, 0.9)
    optimizer = curriculum.build_optimizer(network.parameter_groups(1e-4))
    stream = torch.Generator(device).manual_seed(0)
    next_batch = our_batches(case, device)
    likelihood = case.get("likelihood", "categorical")

    def step():
        inputs, labels = next_batch()
        noise = network.noise(case["samples"], stream)
        engine.gradients(inputs, labels, noise, likelihood, 0.1 / 50_000)
        optimizer.step()
        optimizer.zero_grad()

    return step


def profile(step, device) -> str:
    """The operations that take most time of a step on the device, as a table."""
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    from torch.profiler import profile as profiler

    with profiler(activities=activities) as found:
        step()
    key = "self_cuda_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return found.key_averages().table(sort_by=key, row_limit=12, max_name_column_width=50)


# Start-up


def start_up(repeats: int) -> None:
    """Seconds until a training script has its imports, alone and forked from a warm Python."""
    program = "from bayesian_lottery.warm import delegate; delegate(); import torch; "
    program += "from bayesian_lottery import jobs; torch.optim.Adam([torch.zeros(1)])"
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
        command = [*prefix, sys.executable, "-c", timer]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
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
