"""What a workflow job does, from files to files."""

import contextlib
import csv
import io
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_json, write_tensors, write_text
from bayesian_lottery.inference import kinds, networks
from bayesian_lottery.models import costs
from bayesian_lottery.randomness import seed_of
from bayesian_lottery.study import TICKET, extensions
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import checkpoints, collapse, devices, draws
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.evaluation import summarise
from bayesian_lottery.training.provenance import provenance
from bayesian_lottery.training.pruning import prune
from bayesian_lottery.training.records import Record
from bayesian_lottery.training.starts import redraws_classifier, start, targets, trained
from bayesian_lottery.training.tasks import Inputs, Outputs, Task, alone, prepare, stream_of

__all__ = [
    "Inputs",
    "Outputs",
    "Task",
    "alone",
    "initialise",
    "prepare",
    "prune_dense",
    "run_script",
    "script",
    "start",
    "stream_of",
    "train_nodes",
]


def initialise(
    data_file: Path, model: str, seed: int, output: Path, definition: Mapping | None = None
) -> None:
    """Write the initial weights w0 of `model` for `seed`: the start of every trunk of that seed.

    Of a model of the configuration's own, which has a `definition`, the cost goes with them.
    """
    images = decoded.load(data_file)
    template = models.build(
        models.of({"model": model, "definition": definition}),
        images.image_shape,
        len(images.classes),
        seed=seed_of("initial", model, seed),
    )
    metadata = {"model": model, "image_shape": images.image_shape, "seed": seed}
    if definition:
        metadata["cost"] = costs.count(template, images.image_shape)
    write_tensors(output, template.state_dict(), metadata)


def train_nodes(
    tasks: Sequence[Task], device: str = "auto", checkpoint_seconds: float = 300
) -> None:
    """Train nodes of trunks or branches, side by side, prune them, and write their files.

    A node's metrics come last. The checkpoint of all lies in the folder of the first one.

    Args:
        tasks: the nodes, of settings that differ in coordinates only; most often a single one.
        device: "auto" (CUDA where there is one), "cpu" or "cuda".
        checkpoint_seconds: how often to save.

    Raises:
        InputError: an input file is missing, truncated or of another network, or the tasks cannot
            be trained together.
        Diverged, Stopped: as `loop.train` says.
    """
    extensions.load([file for task in tasks for file in task.inputs.extensions])
    _refuse_mixtures(tasks)
    with contextlib.ExitStack() as locks:
        for folder in sorted({task.outputs.metrics.parent for task in tasks}):
            locks.enter_context(alone(folder))
        _train_nodes(tasks, device, checkpoint_seconds)


def run_script(tasks: Sequence[Task], device: str, checkpoint_seconds: float) -> None:
    """`train_nodes` for a script."""
    with script():
        train_nodes(tasks, device, checkpoint_seconds)


@contextlib.contextmanager
def script() -> Iterator[None]:
    """Within the block training is a script's, which ends with status 143 when SIGTERM stops it."""
    try:
        yield
    except RuntimeError as error:
        if not devices.is_full(error):
            raise
        reason = str(error).partition("\n")[0].partition(". ")[0]
        raise InputError(
            f"device: its memory does not suffice ({reason}); lower compute.samples_per_pass, "
            "evaluation.batch_size or networks_per_job."
        ) from None
    except checkpoints.Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(143)


def _refuse_mixtures(tasks: Sequence[Task]) -> None:
    """Raise `InputError` unless all tasks have the same data and, seeds and the like apart,
    settings."""
    shared = [
        {"data": task.inputs.data, **{k: v for k, v in task.settings.items() if k not in TICKET}}
        for task in tasks
    ]
    for other in shared[1:]:
        different = [
            name for name in {**shared[0], **other} if shared[0].get(name) != other.get(name)
        ]
        if different:
            raise InputError(
                f"train: nodes that differ in {', '.join(different)} cannot train side by side."
            )


def _train_nodes(tasks: Sequence[Task], device: str, checkpoint_seconds: float) -> None:
    started = time.perf_counter()
    place = prepare(device, tasks[0].settings)
    images = decoded.load(tasks[0].inputs.data, place)
    streams = [stream_of(task.node) for task in tasks]
    networks = [
        start(images, task.settings, task.inputs, stream, place)
        for task, stream in zip(tasks, streams, strict=True)
    ]
    skipped = [
        collapse.skips(task.settings["level"], network, images.image_shape, task.collapse)
        for task, network in zip(tasks, networks, strict=True)
    ]
    if any(skipped) and len(tasks) > 1:
        kept = [task for task, skip in zip(tasks, skipped, strict=True) if not skip]
        apart = [[task] for task, skip in zip(tasks, skipped, strict=True) if skip]
        for group in [kept, *apart] if kept else apart:
            _train_nodes(group, device, checkpoint_seconds)
        return
    path = tasks[0].outputs.metrics.parent / "checkpoint.safetensors"
    files = [file for task in tasks for file in task.inputs.files()]
    digest = checkpoints.fingerprint(
        {
            "tasks": [{"node": dict(t.node), "settings": dict(t.settings)} for t in tasks],
            "device": place.type,  # generators of other devices have other states
        },
        files,
    )
    checkpointing = Checkpointing(path, checkpoint_seconds, digest)
    others, learnt = tasks[0].inputs.other_data, targets(tasks, images, place)
    settings = tasks[0].settings
    train = kinds.kind_of(settings).train()
    if skipped[0]:
        settings = {**settings, "curriculum": {**settings["curriculum"], "epochs": 0}}
    records = train(networks, images, settings, streams, checkpointing, others, learnt)
    seconds = (time.perf_counter() - started) / len(tasks)
    for task, network, record in zip(tasks, networks, records, strict=True):
        cost = {
            "seconds": record.seconds_training + record.seconds_evaluation,
            "seconds_training": record.seconds_training,
            "seconds_evaluation": record.seconds_evaluation,
            "seconds_job": seconds,
            "side_by_side": len(tasks),
            "epochs": settings["curriculum"]["epochs"],
            "peak_memory_bytes": devices.peak_memory(place),
            "peak_main_memory_bytes": devices.peak_memory(torch.device("cpu")),
            "resumed_at_steps": record.resumed_at_steps,
        }
        told = {"skipped": True} if skipped[0] else {}
        circumstances = {**told, "cost": cost, "provenance": provenance(place)}
        _write(task, images, network, record, circumstances)
    path.unlink(missing_ok=True)


def prune_dense(
    node: Mapping,
    settings: Mapping,
    data_file: Path,
    weights: Path,
    scorer: str,
    output: Path,
    device: str = "auto",
    level: int = 1,
) -> None:
    """Write the mask of a level by a scorer, from a dense network's trained weights.

    Args:
        node, settings: of the dense node, as `Task` has them; and of its settings the ranking and
            the pattern of the level, where they are not what their absence means.
        data_file: the decoded data set.
        weights: what the dense node wrote.
        scorer: a key of `SCORERS`.
        output: the mask to write.
        device: as `train_nodes` takes it.
        level: whose mask it is.
    """
    place = prepare(device, settings)
    images = decoded.load(data_file, place)
    network = trained(settings, images, weights, settings, place)
    mask = {name: layer.cpu() for name, layer in network.mask.items()}
    masks.save(output, prune(network, mask, scorer, images, settings, stream_of(node), level))


def _write(
    task: Task,
    images: decoded.Images,
    network: networks.Network,
    record: Record,
    circumstances: dict,
) -> None:
    """Prune a trained network and write its node's files."""
    outputs, settings = task.outputs, task.settings
    mask = {name: layer.cpu() for name, layer in network.mask.items()}  # that of its end
    following = (images, settings, stream_of(task.node), settings["level"] + 1)
    for scorer, output in outputs.next_masks.items():
        masks.save(output, prune(network, mask, scorer, *following))
    if outputs.mask:
        masks.save(outputs.mask, mask)
    write_tensors(outputs.weights, network.state(), {"node": dict(task.node)})
    write_text(outputs.history, as_csv(record.history))
    if outputs.predictions:
        probabilities = {"probabilities": record.predictions}
        write_tensors(outputs.predictions, probabilities, {"node": dict(task.node)})
    if outputs.draws and record.draws:
        draws.write(outputs.draws, record.draws, task.node)
    anew = redraws_classifier(network.template, task.inputs, images)
    metrics = {
        "node": dict(task.node),
        "settings": dict(settings),
        **describe(mask),
        "connected": collapse.connected(network.template, network.mask, images.image_shape),
        "results": summarise(record.history),
        "passes": record.passes,
        **({"classifier": "drawn anew"} if anew else {}),
        **({"by_step": record.by_step} if record.by_step else {}),
        **({"sampling": record.sampling} if record.sampling else {}),
        **({"population": record.population} if record.population else {}),
        **record.shifts,
        **circumstances,
    }
    write_json(outputs.metrics, metrics)


def describe(mask: masks.Mask) -> dict:
    """The mask's counts, in all and layer by layer, in network order."""
    kept, size = masks.survivors(mask), masks.size(mask)
    layers = [
        {"name": name, "size": layer.numel(), "survivors": int(layer.sum())}
        for name, layer in mask.items()
    ]
    return {"density": kept / size, "survivors": kept, "prunable": size, "layers": layers}


def as_csv(rows: list[dict]) -> str:
    """Rows as CSV, with the columns of all rows in the order in which they first appear."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
