"""The studies of the paper in config/: what they hold, feed and cost, as their first lines say."""

import functools
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from bayesian_lottery import study
from bayesian_lottery.findings import figures
from bayesian_lottery.findings.figures import FIGURES, NothingToShow
from bayesian_lottery.running import cost
from bayesian_lottery.study import configuration

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
MAIN = Path("config/cifar10.yaml")
MNIST, SLIPS, LENET5, ORIGINAL = (
    Path(f"config/studies/{name}.yaml") for name in ("mnist", "slips", "lenet5", "frankle_carbin")
)
ON_MNIST = [SLIPS, LENET5]  # they are laid over the study of MNIST
ALL = [path.relative_to(ROOT) for path in sorted((ROOT / "config/studies").glob("*.yaml"))]
OWN = [  # they stand alone
    path for path in ALL if "\nresults: " in (ROOT / path).read_text() and path not in ON_MNIST
]
APPENDIX = [path for path in ALL if path not in OWN + ON_MNIST]  # laid over the main study
STUDIES = [MAIN, *APPENDIX]

pytestmark = pytest.mark.usefixtures("registries")


@pytest.fixture(autouse=True)
def _nothing_trained(tmp_path, monkeypatch):
    (tmp_path / "config").symlink_to(ROOT / "config")
    for each in ("train/cat", "train/dog", "test/cat", "test/dog"):  # the images that a study has
        folder = tmp_path / "data/cifar10-jpeg" / each
        folder.mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(folder / "0.png")
        for number in range(1, 80):  # a batch's in both
            (folder / f"{number}.png").hardlink_to(folder / "0.png")
    monkeypatch.chdir(tmp_path)


@functools.cache
def load(path: Path) -> tuple[dict, list[study.Node]]:
    files = dict.fromkeys([MAIN, path])
    return configuration.load([ROOT / file for file in files], [], SCHEMA)


def first_lines(path: Path) -> str:
    """The comment that a file begins with, on one line."""
    lines = (ROOT / path).read_text().splitlines()
    comment = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    return " ".join(line.lstrip("# ") for line in comment)


def fed(path: Path) -> set[str]:
    """The figures that a study can feed."""
    config, nodes = load(path)
    exported = study.exported(config, study.expand(config))

    def feeds(name: str) -> bool:
        shown = exported if FIGURES[name].table == "exports" else nodes
        coordinates = [node.coordinates() for node in shown]
        try:
            figures.plan(name, coordinates, {**config["figures"][name], **study.ways(config)})
        except NothingToShow:
            return False
        return True

    return {name for name in FIGURES if feeds(name)}


@pytest.mark.parametrize("path", STUDIES, ids=str)
def test_the_first_lines_say_what_a_study_costs(path: Path) -> None:
    config, nodes = load(path)
    seconds = cost.estimate(config, nodes, device="gpu").left
    theirs = set(load(MAIN)[1]) if path != MAIN else set()
    hours = sum(seconds.values()) / 3600
    own = sum(taken for node, taken in seconds.items() if node not in theirs) / 3600
    assert f" {hours:,.0f} GPU-hours" in first_lines(path)
    if path != MAIN:
        assert f" {own:,.0f} of them beyond what the main study trains" in first_lines(path)


@pytest.mark.parametrize("path", STUDIES, ids=str)
def test_the_first_lines_give_the_command(path: Path) -> None:
    files = " ".join(map(str, dict.fromkeys([MAIN, path])))
    assert f"snakemake --profile slurm --configfile {files} " in first_lines(path)


@pytest.mark.parametrize("path", APPENDIX, ids=str)
def test_an_appendix_shares_the_main_studys_runs_and_feeds_its_own_figure(path: Path) -> None:
    (main, theirs), (config, nodes) = load(MAIN), load(path)
    shared = set(theirs) & set(nodes)
    assert shared
    for node in shared:
        assert study.node_settings(config, node) == study.node_settings(main, node)
        assert study.node_inputs(config, node) == study.node_inputs(main, node)
    (number,) = set(re.findall(r"[Ff]igure (\d)", first_lines(path)))
    assert f"figure{number}" in fed(path) - fed(MAIN)


def test_the_studies_feed_every_figure_of_the_paper() -> None:
    main = {"figure1", "figure2", "figure3", "figure4", "figure5", "figure9", "table1"}
    assert fed(MAIN) == main | {"figure14"}  # its transplants are posteriors on tickets
    papers = {name for name, figure in FIGURES.items() if not figure.ways and not figure.arms}
    assert papers <= set().union(*map(fed, STUDIES))


def small(path: Path) -> tuple[dict, list[study.Node]]:
    """A study that a processor can run."""
    files = [MNIST, path] if path in ON_MNIST else [path]
    return configuration.load([ROOT / file for file in files], [], SCHEMA)


@pytest.mark.parametrize("path", [*OWN, *ON_MNIST], ids=str)
def test_a_small_study_is_whole_and_gives_its_command(path: Path) -> None:
    config, nodes = small(path)
    assert nodes
    files = f"{MNIST} {path}" if path in ON_MNIST else path
    assert f"snakemake --cores 1 --configfile {files}" in first_lines(path)
    assert config["results"] == f"results/{'mnist' if path == SLIPS else path.stem}"


@pytest.mark.parametrize("name", ["montecarlo", "montecarlo_small"])
def test_a_study_of_posteriors_feeds_their_figures_on_every_data_set(name: str) -> None:
    config, nodes = small(Path(f"config/studies/{name}.yaml"))
    for dataset in {node.dataset for node in nodes}:
        own = [node.coordinates() for node in nodes if node.dataset == dataset]
        for figure in ("figure14", "figure15", "figure16"):
            options = {**config["figures"][figure], "dataset": dataset}
            options.pop("branch", None)  # of one data set
            figures.plan(figure, own, {**options, **study.ways(config), **study.arms(config)})


def test_an_ensemble_of_the_small_study_takes_as_many_gradients_as_its_chains() -> None:
    config, _ = small(Path("config/studies/montecarlo_small.yaml"))
    kinds, curricula = config["branch_kinds"], config["curricula"]
    chains, networks = kinds["sghmc_pool"]["members"], kinds["ensemble_20"]["members"]
    assert chains * curricula["chain"]["epochs"] == networks * curricula["short"]["epochs"]


def test_the_study_of_mnist_feeds_what_the_paper_shows_of_one_model() -> None:
    config, nodes = small(MNIST)
    coordinates = [node.coordinates() for node in nodes]
    for name in ("figure1", "figure2", "figure3", "figure4", "figure5", "figure8", "figure9"):
        figures.plan(name, coordinates, {**config["figures"][name], **study.ways(config)})
    seeds = Counter(node.seed for node in nodes)
    assert (seeds[1], seeds[0]) == (126, 126 + 3 * 11), "heats and deviations at one seed"


def test_the_slips_stand_beside_what_is_right_and_share_it() -> None:
    (mnist, theirs), (config, nodes) = small(MNIST), small(SLIPS)
    shared = set(theirs) & set(nodes)
    for node in shared:
        assert study.node_settings(config, node) == study.node_settings(mnist, node)
        assert study.node_extensions(config, node) == []
    own = set(nodes) - shared
    for node in own:
        assert study.node_extensions(config, node) == ["config/studies/slips.py"]
    assert study.options(config, "sigma_left") == mnist["bayesian"], "but for what is left"


def test_the_original_experiment_prunes_as_its_comment_says() -> None:
    config, nodes = configuration.load([ROOT / ORIGINAL], [], SCHEMA)
    trunk = [node for node in nodes if not node.branch and node.seed == 0]
    assert [node.level for node in trunk] == list(range(21))
    told = study.node_settings(config, trunk[1])["ranking_options"]
    assert told["shares"] == {"classifier": 0.1}
    assert len(nodes) == 5 * 26
