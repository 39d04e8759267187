"""Train nodes: dense networks, levels of trunks or branches; prune them for the next level.

By hand, do what the workflow's job of a node does, from the files that it starts from:

    python scripts/train.py runs/digits/lenet_100_50/bayesian/short/seed0/snr_imp/level03

Several nodes of one architecture, inference, curriculum and level train side by side. Started again
after a kill it resumes from its last checkpoint, which lies beside the first node's metrics file.
SIGUSR1 saves one; SIGTERM saves one and stops with exit status 143.

With --rewind NAME a dense network is trained up to the early step of that rewind only, and what is
written are the weights that it has there:

    python scripts/train.py runs/digits/lenet_100_50/bayesian/short/seed0/dense --rewind late
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bayesian_lottery import arguments, errors, gpus
from bayesian_lottery.running import warm

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml"


def configured(given: argparse.Namespace) -> list[dict]:
    """The tasks, with their files, of nodes named by their folders, as the workflow has them."""
    from bayesian_lottery import study
    from bayesian_lottery.study import configuration

    config, nodes = configuration.load(given.configfile, given.config, SCHEMA)
    known = {node.folder: node for node in nodes}
    chosen = [study.find(known, name.removeprefix(f"{config['results']}/").rstrip("/"))
              for name in given.nodes]  # fmt: skip
    for node in chosen:
        if study.members(config, node):
            raise errors.InputError(
                f"{node.folder}: a pool, which trains nothing; `snakemake --cores 1 "
                f"{config['results']}/{node.folder}/metrics.json` makes it from its members."
            )
    if given.rewind:
        early = [study.early_named(config, node, given.rewind) for node in chosen]
        return [{**study.early_task(config, e), **study.early_files(config, e)} for e in early]
    return [{**study.task(config, node), **study.files(config, node)} for node in chosen]


def paths(files: Any) -> Any:
    """The same mapping or list with Paths in place of texts."""
    if isinstance(files, dict):
        return {name: paths(value) for name, value in files.items()}
    return [paths(value) for value in files] if isinstance(files, list) else Path(files)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nodes", nargs="*", help="folders of nodes of the configuration")
    arguments.add_configuration(parser)
    parser.add_argument("--rewind", help="write what this rewind needs of dense networks")
    parser.add_argument(
        "--tasks", type=json.loads, help="the workflow's: a JSON list of {node, settings}"
    )
    parser.add_argument(
        "--files", type=json.loads, help="the workflow's: a JSON list of {inputs, outputs}"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=300, help="how often to save (default: 300)"
    )
    given = parser.parse_args()
    if bool(given.nodes) == bool(given.tasks and given.files):
        parser.error("give the folders of nodes, or --tasks and --files")
    warm.delegate()
    gpus.claim_gpu()

    # These import torch.
    from bayesian_lottery.training.early import write_early
    from bayesian_lottery.training.jobs import Inputs, Outputs, Task, run_script, script

    if given.nodes:
        whole = configured(given)
    else:
        pairs = zip(given.tasks, given.files, strict=True)
        whole = [{**task, **files} for task, files in pairs]
    run = given.device, given.checkpoint_seconds
    if "rewinding" in whole[0]:
        with script():
            for each in whole:
                what = (each["node"], each["settings"], each["rewinding"])
                start, weights = Inputs(**paths(each["inputs"])), Path(each["outputs"]["weights"])
                write_early(*what, start, weights, *run)
        return
    tasks = [
        Task(each["node"], each["settings"], Inputs(**paths(each["inputs"])),
             Outputs(**paths(each["outputs"])), **{k: each[k] for k in ("collapse",) if k in each})
        for each in whole
    ]  # fmt: skip
    run_script(tasks, *run)


if __name__ == "__main__":
    errors.run(main)
