"""The jobs of a study, which of them are done, and what their results are.

Nothing here needs torch.
"""

import contextlib
import csv
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bayesian_lottery import study
from bayesian_lottery.computation import VERSION
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_shapes
from bayesian_lottery.study import Node, node_metrics
from bayesian_lottery.study.datasets import Images
from bayesian_lottery.tickets import rewinds


@dataclass(frozen=True)
class Job:
    """A job of the workflow.

    Attributes:
        stage: the row of the table that it belongs to.
        output: the file that it writes last.
        log: its log.
        dataset, model: what it prepares, initialises or trains.
        node: the node that it trains, if it does.
        early: the early weights that it makes, if it does.
        watched: the dense node that it trains again to draw masks early, if it does; of so many
            `levels`.
    """

    stage: str
    output: Path
    log: Path
    dataset: str
    model: str | None = None
    node: Node | None = None
    early: study.Early | None = None
    watched: Node | None = None
    levels: int = 0

    @property
    def trained(self) -> Node | None:
        """The node whose training it is, all of it or its beginning; such a job has a checkpoint
        beside its output while it runs."""
        return self.node or self.watched or (self.early.node if self.early else None)


def jobs(config: Mapping, nodes: Iterable[Node]) -> list[Job]:
    """All jobs that prepare data or train, stage by stage. Tables and figures take seconds."""
    root = Path(config["results"])
    order = study.inferences(config)
    nodes = sorted(nodes, key=lambda node: (node.branch or "", order.index(node.inference)))

    def job(stage: str, path: str, *what, output: str = "{}.safetensors", **more) -> Job:
        return Job(stage, root / output.format(path), root / f"logs/{path}.log", *what, **more)

    foreign = (name for node in nodes for name in study.other_data(config, node))
    own = {node: study.trained(config, node).dataset for node in nodes}
    data = dict.fromkeys([*(node.dataset for node in nodes), *own.values(), *foreign])
    initial = dict.fromkeys(study.initial(config, node) for node in nodes)
    early = dict.fromkeys(e for node in nodes if (e := study.early_of(config, node)))
    return [
        *(job("data", f"data/{name}", name) for name in data),
        *(job("initial weights", f"initial/{d}/{m}/seed{seed}", d, m) for d, m, seed in initial),
        *(job(stage_of(n), n.folder, own[n], n.model, n, output="{}/metrics.json") for n in nodes),
        *(
            job("early weights", f"{e.node.folder}/{e.name}", e.node.dataset, e.node.model, early=e)
            for e in early
        ),
        *(
            job(
                "early masks",
                f"{d.folder}/{name}",
                d.dataset,
                d.model,
                output="{}/distances.csv",
                watched=d,
                levels=levels,
            )
            for (d, name), levels in study.watches(config, nodes).items()
        ),
    ]


def stage_of(node: Node) -> str:
    """The stage of a node: of a branch its name, of a trunk's level the inference."""
    return f"branches, {node.branch}" if node.branch else f"trunks, {node.inference}"


def share(config: Mapping, job: Job, images: Images) -> float:
    """The share of its node's training that a job takes: of early weights up to their step."""
    if job.early is None:
        return 1.0
    curriculum = config["curricula"][job.early.node.curriculum]
    epochs, per_epoch = curriculum["epochs"], images.train // curriculum["batch_size"]
    told = study.early_task(config, job.early)["rewinding"]
    return rewinds.early(told).step(epochs, per_epoch) / (epochs * per_epoch)


def runs(root: str | Path) -> dict[str, dict]:
    """All metrics below the results `root`, by their nodes' folders, whatever the configuration.

    A file that `node_metrics` refuses, or that a rerun has just deleted, is left out.
    """
    results = {}
    for folder, _, names in os.walk(Path(root) / "runs"):
        if "metrics.json" in names:
            try:
                metrics = node_metrics.read(f"{folder}/metrics.json")
            except InputError:
                continue
            results[Path(folder).relative_to(root).as_posix()] = metrics
    return results


def finished(job: Job, config: Mapping, results: Mapping[str, Mapping]) -> bool:
    """Whether the job's result is there and, of a node, made by the settings of today."""
    if job.node is None:
        return job.output.exists()
    metrics = results.get(job.node.folder)
    return metrics is not None and metrics["settings"] == study.node_settings(config, job.node)


def outdated(config: Mapping, results: Mapping[str, Mapping], nodes: Iterable[Node]) -> list[str]:
    """What another version of the computation made: the metrics files of nodes, of those found, and
    what trainings beside them left."""
    nodes = list(nodes)
    made = [
        f"{config['results']}/{node.folder}/metrics.json"
        for node in nodes
        if node.folder in results and node_metrics.computation(results[node.folder]) != VERSION
    ]
    beside = (job for job in jobs(config, nodes) if job.early or job.watched)
    return [*made, *(str(j.output) for j in beside if j.output.exists() and _version(j) != VERSION)]


def _version(job: Job) -> int | None:
    """Which version made early weights, or the table of a watched training; None if untold."""
    if job.early:
        with contextlib.suppress(InputError):
            return read_shapes(job.output)[1].get("computation")
        return None
    with job.output.open(newline="") as table:
        told = next(csv.DictReader(table), {}).get("computation") or ""
    return int(told) if told.isdecimal() else None


def refused(config: Mapping, results: Mapping[str, Mapping], nodes: Iterable[Node]) -> list[str]:
    """What is wrong with the metrics files that are there and not among those found."""
    faults = []
    for node in nodes:
        path = Path(config["results"], node.folder, "metrics.json")
        if node.folder not in results and path.exists():
            try:
                node_metrics.read(path)
            except InputError as error:
                faults.append(str(error))
    return faults
