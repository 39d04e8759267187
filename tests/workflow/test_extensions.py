"""Methods of one's own: a file registers them, and the real workflow runs them like its own."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from test_partial import RESULTS, Study, checkout

MINE = '''
from bayesian_lottery.findings.figures import FIGURES, Figure, plans
from bayesian_lottery.inference.kinds import KINDS, Kind, Variational
from bayesian_lottery.tickets.branches import BRANCHES, MASKS, Branch
from bayesian_lottery.tickets.objectives import OBJECTIVES, Objective
from bayesian_lottery.tickets.patterns import PATTERNS, Pattern
from bayesian_lottery.tickets.rewinds import REWINDS, Rewind
from bayesian_lottery.tickets.scores import SCORERS, Scorer
from bayesian_lottery.tickets.searches import SEARCHES, AtInit, Search


def trained_signs(initial, trained):
    """Initial magnitudes with the signs that training gave them."""
    if trained is None:
        return initial
    return {name: value.abs() * trained[name].sign() for name, value in initial.items()}


class Turning:
    """Turns the mask upside down after the fifth step."""

    def __init__(self, network, images, settings, stream, steps, options):
        self.network = network

    def due(self, step):
        return step == 5

    def mask(self, step):
        return {name: layer.cpu().flip(0) for name, layer in self.network.mask.items()}


def rows(mask, scores, contests, model):
    """The better half of each layer's rows: the count is what it is."""
    best = {n: s.flatten(1).mean(1).argsort(descending=True) for n, s in scores.items()}
    kept = {n: order[: len(order) // 2] for n, order in best.items()}
    return {n: layer & layer.new_zeros(layer.shape).index_fill(0, kept[n], True)
            for n, layer in mask.items()}


class Doubted:
    """Labels that are believed by half."""

    def __init__(self, options, teachers):
        pass

    def beside_labels(self, images, step):
        return ()

    def log_likelihoods(self, logits, labels):
        from bayesian_lottery.training.engine import log_likelihoods

        return log_likelihoods(logits, labels) / 2


PATTERNS["rows"] = Pattern("the better half of the rows", rows, levels=1)
OBJECTIVES["doubted"] = Objective("labels in doubt", "lottery_extension_mine:Doubted")
SEARCHES["turning"] = Search(
    "a mask that turns", scored="own", options=AtInit, moves="lottery_extension_mine:Turning",
    start="bayesian_lottery.training.pruning:initial_mask",
)
SCORERS["saliency"] = Scorer(("weight", "gradient"), lambda w, g: (w * g).abs(), "|w g|")
REWINDS["signs"] = Rewind("trained signs", trained_signs, origin="previous")
MASKS["upside_down"] = lambda mask, stream: {n: layer.flip(0) for n, layer in mask.items()}
BRANCHES["turned"] = Branch(mask="upside_down", weights="reinitialised")
BRANCHES["redrawn"] = Branch(weights="reinitialised")
KINDS["plain_noise"] = Kind(
    "noise of my own", "bayesian_lottery.inference.variational:BayesianNetwork.of", ("mean", "std"),
    Variational, stochastic=True, tensors=2,
)
FIGURES["accuracy_again"] = Figure("Accuracy, drawn again", plans.accuracy)
'''

SHARED = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "short", "seeds": [0]}
OWN = {
    "extensions": ["mine.py"],
    "inferences": {"noisy": {"kind": "plain_noise", "initial_std": 0.1, "samples": 2}},
    "branch_kinds": {
        "back": {"of": "noisy", "inference": "deterministic"},
        "doubting": {"objective": "doubted"},
    },
}
TRUNKS = [
    {**SHARED, "inference": "deterministic", "scorer": ["magnitude", "saliency"],
     "rewind": ["imp", "signs"], "levels": 2},
    {**SHARED, "inference": "noisy", "scorer": "snr", "levels": 1},
    {**SHARED, "inference": "noisy", "scorer": "snr", "search": "turning", "levels": 1},
    {**SHARED, "inference": "deterministic", "scorer": "magnitude", "pattern": "rows", "levels": 1},
]  # fmt: skip
BRANCHES = [
    {"branch": ["turned", "redrawn"], "scorer": "saliency", "rewind": "imp", "levels": [2]},
    {"branch": "back", "inference": "noisy", "levels": [1]},
    {"branch": "doubting", "scorer": "saliency", "rewind": "imp", "levels": [2]},
]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A study that ran to its end, and then got methods of its own and ran on."""
    folder = tmp_path_factory.mktemp("extended")
    checkout(folder)
    study = Study(folder)
    study.config["trunks"] = [{**TRUNKS[0], "scorer": "magnitude", "rewind": "imp"}]
    del study.config["branches"]
    study.snakemake()
    before = written(folder)
    (folder / "mine.py").write_text(MINE)
    study.config |= {**OWN, "trunks": TRUNKS, "branches": BRANCHES}
    study.snakemake()
    assert before.items() <= written(folder).items(), "what was trained was trained again"
    return study


def written(folder: Path) -> dict[Path, int]:
    """The metrics of all nodes, and when they were written."""
    files = folder.glob(f"{RESULTS}/runs/**/metrics.json")
    return {file: file.stat().st_mtime_ns for file in files}


def test_everything_of_ones_own_is_in_the_tables(study):
    runs = pd.read_parquet(study.folder / RESULTS / "tables/runs.parquet")
    assert {"saliency", "magnitude", "snr"} <= set(runs["scorer"].dropna())
    assert {"signs", "imp"} <= set(runs["rewind"].dropna())
    assert {"turned", "redrawn", "back", "doubting"} == set(runs["branch"].dropna())
    assert runs.loc[runs["pattern"] == "rows", "density"].tolist() == [0.5]
    assert {"iterative", "turning"} == set(runs["search"].dropna())
    assert {"noisy", "deterministic"} == set(runs["inference"])
    noisy = runs[(runs["inference"] == "noisy") & runs["branch"].isna()]
    assert noisy["final_mutual_information"].notna().all(), "predictions average draws"
    back = runs[runs["branch"] == "back"]
    assert back["final_mutual_information"].isna().all(), "trained as an ordinary network"


def test_estimates_status_legends_and_messages_know_it(study):
    def said(script: str) -> str:
        command = [sys.executable, f"scripts/{script}.py", "--configfile", "study.yaml"]
        options = {"cwd": study.folder, "env": study.environment, "text": True}
        return subprocess.run(command, capture_output=True, check=True, **options).stdout

    for stage in ("trunks, noisy", "branches, doubting", "branches, turned"):
        assert stage in said("estimate") and stage in said("status")
    explorer = (study.folder / RESULTS / "explorer.html").read_text()
    for name in ("saliency", "signs", "turning", "rows", "noisy", "doubting"):
        assert f'"{name}"' in explorer, name
    right = study.config["trunks"]
    for key, name in {"scorer": "saliency", "search": "turning", "pattern": "rows"}.items():
        study.config["trunks"] = [{**TRUNKS[0], key: "nonesuch"}]
        said_instead = study.snakemake("--dry-run", check=False)
        assert "'nonesuch' is not known" in said_instead and name in said_instead
    study.config["trunks"] = right


def test_a_gradient_scorer_prunes_otherwise_than_magnitude(study):
    dense = study.folder / RESULTS / "runs/digits/lenet_100_50/deterministic/short/seed0/dense"
    by = [dense / f"next_mask_{name}.safetensors" for name in ("magnitude", "saliency")]
    assert by[0].stat().st_size and by[0].read_bytes() != by[1].read_bytes()


def test_a_figure_of_ones_own_is_drawn(study):
    assert (study.folder / RESULTS / "figures/accuracy_again.png").exists()


def test_a_finished_study_has_nothing_to_do_and_a_changed_method_trains_its_own_nodes(study):
    assert study.planned() == {}
    mine = study.folder / "mine.py"
    mine.write_text(MINE + "\n# changed\n")
    trained = study.trained()
    mine.write_text(MINE)
    # saliency: imp and signs, two levels each; signs by magnitude: two; noisy: dense, one of each
    # search; rows: one.
    branches = ("turned", "redrawn", "back", "back", "doubting")
    assert sum(trained.values()) == 4 + 2 + 3 + 1 + len(branches), trained
