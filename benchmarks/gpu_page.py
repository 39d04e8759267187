"""The page of gpu_check.py: what it measured, beside what a GPU should reach."""

from collections.abc import Iterable, Mapping

# Seconds of an epoch of CIFAR-10 with its test, batch 128, Bayesian with 10 samples, on an H100.
GOALS = {
    ("resnet20", "deterministic"): 0.6,
    ("vgg11", "deterministic"): 0.6,
    ("vit_tiny", "deterministic"): 0.6,
    ("resnet18", "deterministic"): 1.2,
    ("resnet20", "bayesian"): 3,
    ("vgg11", "bayesian"): 3,
    ("vit_tiny", "bayesian"): 5,
    ("resnet18", "bayesian"): 9,
}
# Times as fast as the plain loop, and as plain torch-blue; and the share of its memory.
SPEED_UPS = {"deterministic": 5, "bayesian": 4}
MEMORY = 0.5


def page(measured: Mapping) -> str:
    """All that was measured, as Markdown."""
    sections = [_parts(measured["parts"])]
    if "steps" in measured:
        sections += [_machine(measured["steps"]), _steps(measured["steps"]["rows"])]
    if "epochs" in measured:
        sections.append(_epochs(measured["epochs"]["rows"]))
    if "profile" in measured:
        sections += [_profile(row) for row in measured["profile"]["rows"]]
    return "\n\n".join(sections) + "\n"


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *([str(v) for v in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _parts(parts: Iterable[Mapping]) -> str:
    rows = ((each["part"], each["end"], each["seconds"], each["last"]) for each in parts)
    return "## Parts\n\n" + _table(("part", "end", "s", "last line"), rows)


def _machine(steps: Mapping) -> str:
    ceilings = ((name, f"{value:.4g}") for name, value in steps["ceilings"].items())
    return f"## {steps['processor']}\n\n" + _table(("largest", "rate"), ceilings)


def _steps(rows: Iterable[Mapping]) -> str:
    """Steps, beside the reference of each model and inference, and what is hoped for."""
    rows = list(rows)
    shown = []
    for row in rows:
        ours = row["case"].startswith("ours")
        goal = f"{SPEED_UPS[row['inference']]} at {MEMORY}" if ours else ""
        shown.append((*row.values(), goal))
    return "## A training step\n\n" + _table((*rows[0], "goal: speed_up at memory_ratio"), shown)


def _epochs(rows: Iterable[Mapping]) -> str:
    shown = [
        (
            row["model"],
            row["inference"],
            ", ".join(
                f"{k} {v}" for k, v in row.items() if k not in ("model", "inference", "seconds")
            ),
            row["seconds"],
            GOALS.get((row["model"], row["inference"]), ""),
        )
        for row in rows
    ]
    return "## An epoch and its test\n\n" + _table(
        ("model", "inference", "compute", "s", "goal on an H100, s"), shown
    )


def _profile(row: Mapping) -> str:
    title = f"## Where a step's time goes: {row['model']}, {row['inference']}, {row['case']}"
    table = _table(row["top"][0], (each.values() for each in row["top"]))
    if "kernels" not in row:
        return f"{title}\n\n{table}"
    gaps = (
        f"{row['kernels']} kernels; busy {row['busy']:.0%} of the time; "
        f"{row['median_gap_us']} microseconds (median) between two kernels."
    )
    return f"{title}\n\n{table}\n\n{gaps}"
