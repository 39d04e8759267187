"""Time and memory of a training step against what one would write without this project.

    python benchmarks/training.py --quick
    python benchmarks/training.py --models resnet20 vgg11 --json steps.json

Every case (see cases.py) is a process of its own, so that its peak memory is its own. It is
measured beside its reference, the two taking their steps in turn, so that a busy machine slows both
alike: "speed_up" and "memory_ratio" are of that pair. "of_ceiling" is the share of the machine's
own largest matrix product, in the same precision, that the step's multiply-adds reach. Images are
made up, in CIFAR-10's shape. On a CPU each step is timed; on a GPU blocks of 50 steps are, with one
wait for the GPU at the end of each.
"""

import argparse
import json
import os
import platform
import statistics
from pathlib import Path

from cases import BAYESIAN, DETERMINISTIC, QUICK
from processes import on_cpu, processor, run_worker, take_turns

MODELS = ("resnet20", "resnet18", "vgg11", "vit_tiny")
# Settings of `compute` under which whole epochs are timed on a GPU: what each costs or gains.
GPU_EPOCHS: list[dict] = [
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
    parser.add_argument("--images", type=int, default=50_000, help="of an epoch (50,000)")
    parser.add_argument("--steps", type=int, default=5, help="times a case is timed (5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads (all cores)")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's loader (2)")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--sweep", action="store_true", help="ours, by samples a pass, instead")
    parser.add_argument("--profile", action="store_true", help="what bounds each case, instead")
    parser.add_argument("--epochs", action="store_true", help="whole epochs of ours, instead")
    parser.add_argument("--json", type=Path, help="write what was measured here too")
    options = parser.parse_args()
    if options.quick:
        options.models, options.cases, options.steps = ["resnet20"], QUICK, 3

    ceilings = json.loads(run_worker({"kind": "ceilings", **machine(options)}))
    print(f"{platform.node()}, {processor()}, {options.threads} threads, {options.samples} samples")
    print(", ".join(f"{name} {value:.4g}" for name, value in ceilings.items()))
    rows: list[dict] = []
    for model in options.models:
        for inference in options.inference:
            batch = 32 if model.startswith("vit") and on_cpu(options.device) else 128
            shared = {"model": model, "inference": inference, "batch": options.batch or batch}
            shared |= {"samples": options.samples if inference == "bayesian" else 1}
            shared |= {"workers": options.workers, **machine(options)}
            rows += measure(shared, ceilings, options)
    if options.json:
        measured = {"processor": processor(), "ceilings": ceilings, "rows": rows}
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


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
        kept = (next(iter(cases)), *options.cases)
        cases = {name: case for name, case in cases.items() if name in kept}
    cases = {name: {**shared, **case} for name, case in cases.items()}
    if options.epochs:
        shared = {**shared, "images": options.images}
        return [time_epoch(shared, way) for way in ([{}] if on_cpu(options.device) else GPU_EPOCHS)]
    if options.profile:
        return [look_into(name, case) for name, case in cases.items()]
    (reference, first), *others = cases.items()
    rows: list[dict] = []
    for name, case in others or [(reference, first)]:
        pair = {reference: first, name: case}
        found = take_turns(pair, options.steps)
        for which in [reference, name] if not rows and others else [name]:
            rows.append(row_of(which, pair[which], found[which], found[reference], ceilings))
            if len(rows) == 1:
                print(f"\n| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
            print(f"| {' | '.join(map(str, rows[-1].values()))} |", flush=True)
    return rows


def time_epoch(shared: dict, way: dict) -> dict:
    """The seconds of an epoch of ours and its test, printed."""
    answer = json.loads(run_worker({**shared, "kind": "epochs", "way": way}).splitlines()[-1])
    row = {"model": shared["model"], "inference": shared["inference"], **way, **answer}
    words = "".join(f", {key} {value}" for key, value in way.items())
    print(
        f"{row['model']}, {row['inference']}{words}: {row['seconds']:.2f} s an epoch and its test",
        flush=True,
    )
    return row


def look_into(name: str, case: dict) -> dict:
    """Where the time of a case's step goes, printed."""
    found = json.loads(run_worker({**case, "profile": True}).splitlines()[-1])
    print(f"\n{case['model']}, {case['inference']}, {name}\n")
    print("| operation | calls | ms | share |\n| --- | --- | --- | --- |")
    for row in found["top"]:
        print(f"| `{row['operation']}` | {row['calls']} | {row['ms']} | {row['share']:.0%} |")
    if "kernels" in found:
        print(f"\n{found['kernels']} kernels; the GPU is busy {found['busy']:.0%} of the time,")
        print(f"and waits {found['median_gap_us']} microseconds (median) between two kernels.")
    return {"model": case["model"], "inference": case["inference"], "case": name, **found}


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


if __name__ == "__main__":
    main()
