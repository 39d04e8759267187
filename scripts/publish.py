"""Add what a study found, or some seeds of it, to `published/`: small tables, no weights.

    python scripts/publish.py --configfile config/studies/mnist.yaml --seeds 0 \\
        --command "snakemake --cores 1 --configfile config/studies/mnist.yaml"

adds the nodes of seed 0 that are done to published/mnist/seed0.
"""

import argparse
import re
from pathlib import Path

from bayesian_lottery import arguments, errors
from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import publishing
from bayesian_lottery.study import configuration

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_configuration(parser)
    parser.add_argument("--results", help="the study's results (default: the configuration's)")
    parser.add_argument(
        "--study", type=Path, help="its folder (default: in published/, by the last configfile)"
    )
    parser.add_argument("--unit", help="the name of the part that was run (default: by its seeds)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", required=True, help="the seeds of that part"
    )
    parser.add_argument("--command", required=True, help="the command that ran it")
    given = parser.parse_args()
    if not (given.configfile or given.study):
        parser.error("name the study by --configfile or by --study")
    if given.unit and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", given.unit):
        raise InputError(
            f"--unit: {given.unit!r} is not allowed; it must be letters, digits, '_' and '-', "
            "for it is a folder's name."
        )
    files = given.configfile or [f"config/studies/{given.study.name}.yaml"]
    study = given.study or Path("published", Path(files[-1]).stem)
    config, nodes = configuration.load(files, given.config, SCHEMA)
    if given.results:
        config["results"] = given.results
    own = [node for node in nodes if node.seed in given.seeds]
    if absent := set(given.seeds) - {node.seed for node in own}:
        raise InputError(f"--seeds: the configuration has no seed {min(absent)}.")
    unit = study / (given.unit or "_".join(f"seed{seed}" for seed in sorted({*given.seeds})))
    made = publishing.publish(config, own, unit, given.command, files)
    print(f"{unit}: {made['networks']} networks; {made['left']} are not done.")
    for name, count in made["lacking"].items():
        print(f"{name}: {count} of its parts are not there.")


if __name__ == "__main__":
    errors.run(main)
