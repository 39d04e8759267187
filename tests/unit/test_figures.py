"""The registry of figures: what each takes, and what it says where it cannot be drawn."""

import re
import subprocess
import sys

import pytest
import synthetic
import synthetic_posteriors
import synthetic_tables
import yaml
from drawn import ROOT, draw, missing
from synthetic_posteriors import TOLD

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import figures, results
from bayesian_lottery.findings.figures import NothingToShow, style
from bayesian_lottery.tickets.branches import BRANCHES

pytestmark = pytest.mark.slow

DRAWN = [name for name, figure in figures.FIGURES.items() if "png" in figure.formats]


def test_the_registry_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys, bayesian_lottery.findings.figures as f; assert f.FIGURES; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'pandas')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawing_imports_neither_torch_nor_pyplot():
    modules = ", ".join(
        f"bayesian_lottery.findings.figures.{f.drawing}" for f in figures.FIGURES.values()
    )
    code = (
        f"import sys, {modules}; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib.pyplot')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def parts(whole_study, trunks, tmp_path_factory) -> dict:
    """Studies that lack something, each by its folder and its tables."""
    root, own = whole_study.root, tmp_path_factory.mktemp("alone")
    alone = synthetic.study(inferences=("bayesian",), seeds=(0,), levels=2)
    dense = synthetic_tables.part(root, whole_study.tables, lambda table: table["level"] == 0)
    return {
        "dense": (root, dense),
        "trunks": (own, trunks),
        "alone": (own, synthetic_tables.tables(own, alone)),
    }


def planned_of(name: str, tables: dict) -> list:
    """The nodes that the workflow plans a figure of."""
    return results.nodes(tables["exports" if name == "table2" else "runs"])


@pytest.mark.parametrize("part", ["dense", "trunks", "alone"])
@pytest.mark.parametrize("name", figures.FIGURES)
def test_what_cannot_be_shown_is_known_before_it_is_drawn(parts, name, part):
    root, tables = parts[part]
    nodes = planned_of(name, tables)
    reason = missing(name, nodes, {})
    if reason is None:
        chains = synthetic_posteriors.chain_files(root, figures.plan(name, nodes, TOLD))
        draw(name, tables, chains)
    else:
        assert reason.endswith(".") and "\n" not in reason
        with pytest.raises(NothingToShow) as raised:
            draw(name, tables)
        assert str(raised.value) == reason


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_whole_study_feeds_every_figure(whole, name):
    assert missing(name, planned_of(name, whole), {}) is None


def test_captions_say_of_which_epoch_networks_are(whole):
    for name in figures.FIGURES:
        nodes = planned_of(name, whole)
        said = figures.measured(name, figures.plan(name, nodes, TOLD))
        caption = (ROOT / f"workflow/report/{name}.rst").read_text()
        assert bool(said) == ("{{ snakemake.params.measured }}" in caption), name
    plan = figures.plan("figure1", planned_of("figure1", whole), {"statistic": "final"})
    assert figures.measured("figure1", plan).endswith("after its last epoch.")


def test_nothing_to_show_says_why(trunks, whole, tmp_path):
    nodes, every = (results.nodes(study["runs"]) for study in (trunks, whole))
    for name, reason in {
        "figure3": "no branch shuffle_layerwise or",
        "figure4": "no branch reinit or",
        "figure5": "no branch transplant_initial or",
        "figure6": "no trunks that differ in their model alone",
        "figure7": "no trunks that differ in their curriculum alone",
        "figure8": "no trunks that differ in their rewind alone",
        "figure10": "No model has several ways to a ticket, only iterative",
        "figure12": "No search watches a dense network",
        "figure14": "no branch of a deterministic ticket that says how to train",
        "figure16": "no pool of a sampler's chains on deterministic tickets.",
        "table3": "no pool of a sampler's chains on deterministic tickets beside",
    }.items():
        assert reason in missing(name, nodes, {})
    dense = [node for node in nodes if node["level"] == 0]
    assert "only dense networks" in missing("figure1", dense, {})
    bayesian = [node for node in nodes if node["inference"] == "bayesian"]
    assert "both" in missing("table1", bayesian, {})
    assert "No level is exported" in missing("table2", [], {})
    for name in DRAWN:
        reason = missing(name, every, {"dataset": "cifar10"})
        assert "nothing to show of dataset cifar10; there is dataset digits" in reason
    assert "levels 9; there is 1, 2, 3, 4, 5, 6." in missing("figure2", nodes, {"levels": [9]})
    for name in ("figure2", "figure4", "figure5", "figure6", "figure7", "figure8"):
        assert "scorer nosuch; there is" in missing(name, every, {"scorer": "nosuch"})
    unsplit = [synthetic.metrics(level, selected=False) for level in (0, 1)]
    runs = results.tables(synthetic.write(tmp_path, unsplit)).runs
    with pytest.raises(NothingToShow, match="chosen on validation"):
        draw("figure1", {"runs": runs}, statistic="selected")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("figure1", {"statistic": ["peak"]}, "statistic: ['peak'] is not allowed"),
        ("figure1", {"models": [3]}, "models entry 1: 3 is not allowed; it must be text"),
        ("figure2", {"levels": 3}, "levels: 3 is not allowed; it must be a list"),
        ("figure3", {"level": "x"}, "level: 'x' is not allowed; it must be a whole number"),
        ("figure1", {"tickets": 3}, "tickets: 3 is not allowed; it must be a mapping"),
        ("figure1", {"tickets": {"no": "x"}}, "tickets: 'no' is not a key; known are search"),
        ("figure10", {"kinds": {"search": 3}}, "kinds.search: 3 is not allowed"),
        ("figure14", {"arms": {"branches": {"a": {"no": 1}}}}, "branches.a: 'no' is not a key"),
        ("table1", {"models": ["a"]}, "'models' is not known; it takes none."),
    ],
)
def test_options_of_another_type_are_refused(name, options, words):
    with pytest.raises(InputError, match=f"^figure option.*{re.escape(words)}"):
        figures.plan(name, [], options)


def test_wrong_requests_are_refused(trunks, whole):
    with pytest.raises(InputError, match="figure1, figure10, figure11"):
        draw("figure0", trunks)
    for name, table in {"figure2": "layers", "figure13": "runs", "table2": "exports"}.items():
        with pytest.raises(NothingToShow, match=f"{name} needs the table of {table}"):
            draw(name, {})
    with pytest.raises(NothingToShow, match="figure13 needs the table of overlaps"):
        draw("figure13", {"runs": whole["runs"]})
    with pytest.raises(InputError, match="'best' is not known; choose from final, peak, selected"):
        draw("figure1", trunks, statistic="best")
    for name in figures.FIGURES:
        with pytest.raises(InputError, match="colour"):
            draw(name, trunks, colour="red")
    with pytest.raises(InputError, match="models: 'vit_tiny' is not allowed; it must be a list"):
        draw("figure1", trunks, models="vit_tiny")
    with pytest.raises(InputError, match="absent"):
        style.applied("absent.mplstyle")


def test_every_branch_is_in_a_figure():
    assert {*figures.plans.ABLATIONS, *figures.plans.TRANSPLANTS} == set(BRANCHES)


def test_the_schema_knows_every_option():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    described = schema["properties"]["figures"]["properties"]
    assert list(described) == list(figures.FIGURES)
    for name, figure in described.items():
        with pytest.raises(InputError) as raised:
            figures.plan(name, [], {"nosuch": 1})
        known = str(raised.value).partition("choose from ")[2].rstrip(".").split(", ")
        assert sorted(figure.get("properties", {})) == [word for word in known if word]
