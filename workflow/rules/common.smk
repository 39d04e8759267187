import json
import shlex
from functools import cache

# What bash itself says, such as that a program was killed, repeats the command: its start will do.
# A module leaves alone what holds for the other rules of its user as well.
if MAIN:
    found = "export PYTHONPATH=src${{PYTHONPATH:+:$PYTHONPATH}}; " if AT_HOME else ""
    shell.prefix(f"set -euo pipefail; exec 2> >(cut -c 1-240 >&2); {found}")

from snakemake.logging import logger

from bayesian_lottery.study import branch_checks
from bayesian_lottery.study import configuration
from bayesian_lottery.study import datasets
from bayesian_lottery.study import definitions
from bayesian_lottery.study import owners
from bayesian_lottery.data import sources
from bayesian_lottery.running import failures
from bayesian_lottery.findings import arms
from bayesian_lottery.findings import figures
from bayesian_lottery.running import resources
from bayesian_lottery import study
from bayesian_lottery.findings.figures import FIGURES, NothingToShow
from bayesian_lottery.findings.figures.files import shown_files

if MAIN and not workflow.output_settings.show_failed_logs:  # which prints all there is
    logger.addFilter(failures.shorten)


@cache
def figure_plan(name):
    """What the study lets a figure show."""
    shown = {"exports": EXPORTED_COORDINATES}.get(FIGURES[name].table, COORDINATES)
    return figures.plan(name, shown, figures.options_of(name, config))


def caption(name):
    """The caption of a figure, and one for those that have none of their own."""
    added = owners.files_of([("figure", name)])
    return f"../report/{'extension' if added else name}.rst"


def missing(name):
    """Why the study cannot feed a figure; None if it can."""
    try:
        figure_plan(name)
    except NothingToShow as reason:
        return str(reason)


def place_of_results():
    """Where the rules write, which a module's `prefix` moves.

    Snakemake moves all paths of rules, but no other; what functions give as inputs, too, and there
    it does not see `results` as such.
    """
    move = workflow.modifier.path_modifier.replace_prefix
    place = workflow.pathvars.apply(move("<results>"))
    if place != move(config["results"]):
        raise InputError(
            f"results: {config['results']!r} in a module's prefix or path variables would be {place!r}"
            " in one place and another path in others; give a relative path and at most a `prefix`."
        )
    return place


try:
    configuration.complete(config, own("workflow/schemas/config.schema.yaml"))
except InputError as error:
    raise WorkflowError(str(error)) from None


pathvars:
    results=config["results"],
    logs=f"{config['results']}/logs",
    benchmarks=f"{config['results']}/benchmarks",


try:
    RESULTS = place_of_results()
    PLACED = {**config, "results": RESULTS}  # for what is no path of a rule
    NODES = {node.folder: node for node in study.nodes(config)}
    if workflow.is_main_process:  # jobs would only import torch to do it again
        definitions.build(PLACED, NODES.values())
        branch_checks.check_sizes(PLACED, NODES.values())
    IMAGES = {
        name: datasets.images_of(PLACED, name)
        for name in {study.trained(config, node).dataset for node in NODES.values()}
    }
    COORDINATES = [node.coordinates() for node in NODES.values()]
    EXPORTED = study.exported(config, study.expand(config))
    EXPORTED_COORDINATES = [node.coordinates() for node in EXPORTED]
    # Jobs do not look at the figures, which takes seconds for thousands of nodes.
    LEFT_OUT = {name: missing(name) for name in FIGURES} if workflow.is_main_process else {}
except InputError as error:
    raise WorkflowError(str(error)) from None


FIGURE_FILES = [
    f"<results>/figures/{name}.{suffix}"
    for name, figure in FIGURES.items()
    if not LEFT_OUT.get(name)
    for suffix in figure.formats
]
for name, reason in LEFT_OUT.items():
    if reason:
        logger.info(f"{name} is left out: {reason}")

# Tables beside those of every study, as far as the study feeds them.
MASK_TABLES = [
    figure.table
    for name, figure in FIGURES.items()
    if figure.table in ("distances", "overlaps") and not LEFT_OUT.get(name)
]
COMPARED = arms.predictions(
    COORDINATES,
    study.arms(config).get("arms", {}),
    config.get("tickets", {}),
    config["results"],
)
MORE_TABLES = {"exports": EXPORTED, "agreement": COMPARED}
TABLE_FILES = expand(
    "<results>/tables/{table}.{format}",
    table=[
        *("runs", "layers", "shifts", *MASK_TABLES),
        *(name for name, fed in MORE_TABLES.items() if fed),
    ],
    format=["parquet", "csv"],
) + ["<results>/tables/claims.csv"]
METRICS_FILES = [f"{config['results']}/{folder}/metrics.json" for folder in NODES]


wildcard_constraints:
    dataset="|".join(config["datasets"]),
    model="|".join(study.models(config)),
    seed=r"\d+",


# For the trained weights of levels from which no other level starts.
unneeded = temp if config["weights"] == "needed" else str


def node_of(wildcards):
    try:
        return study.find(NODES, wildcards.node)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def request(nodes):
    """What training `nodes`, side by side, asks a cluster for, by the results of this moment."""
    times = ((path, modified(path)) for path in dense_metrics(*study.alike(config, nodes[0])))
    like = tuple((path, time) for path, time in times if time)
    counted = modified(study.node_inputs(PLACED, nodes[0])["initial"])
    return request_of(nodes[0], len(nodes), like, counted)


@cache  # Snakemake asks for each resource by itself, and more than once
def request_of(node, networks, like, counted):
    settings = study.node_settings(config, node)
    images = IMAGES[settings["dataset"]]
    paths = [path for path, _ in like]
    own = node.model in config["models"] and counted
    initial = study.node_inputs(PLACED, node)["initial"] if own else None
    return resources.request(settings, images, config["device"], networks, paths, initial)


@cache
def dense_metrics(*key):
    """The metrics files of the dense networks that are alike in `key`, whatever their seeds."""
    dense = [node for node in NODES.values() if node.level == 0 and not node.branch]
    like = [node for node in dense if study.alike(config, node) == key]
    return [f"{RESULTS}/{node.folder}/metrics.json" for node in like]


def modified(path):
    """When a file was written; None if it is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def extension_files(node):
    """The extensions that a node takes entries of, as inputs that get no module's prefix."""
    return [local(path) for path in study.node_extensions(config, node)]


def prepare_settings(wildcards):
    """The settings of a data set that its decoded file depends on."""
    return json.dumps(sources.decoded_by(config["datasets"][wildcards.dataset]))


def decoding_threads(wildcards):
    """As many as there are cores, up to 16, for a folder of images; the program is told by
    OMP_NUM_THREADS, which Snakemake sets."""
    return 16 if config["datasets"][wildcards.dataset]["source"] == "imagefolder" else 1


def shown(name, wildcards):
    return figure_plan(name).shown


def measured(name, wildcards):
    return figures.measured(name, figure_plan(name))


def figure_options(name, wildcards):
    return json.dumps(figures.options_of(name, config))


def files_beside(name, wildcards):
    """The files that a figure shows beside its table, by the names in its plan."""
    return shown_files(figure_plan(name), config)


def file_options(wildcards, input):
    """The options of plot.py for the files that a figure shows, as a shell takes them."""
    tables = ("table", "nodes", "style", "code", "extensions")
    files = {name: path for name, path in input.items() if name not in tables}
    return [f"--file {shlex.quote(f'{name}={path}')}" for name, path in files.items()]
