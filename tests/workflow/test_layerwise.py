"""Rankings and patterns in a finished study: their own nodes are trained, and nothing else."""

import subprocess
import sys

import pandas as pd
import pytest
from test_extensions import written
from test_partial import RESULTS, Study, checkout

from bayesian_lottery.files import read_json, read_tensors
from bayesian_lottery.tickets import masks

SHARED = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "short", "seeds": [0]}
PLAIN = {**SHARED, "inference": "deterministic", "scorer": "magnitude", "levels": 2}
BAYESIAN = {**SHARED, "inference": "bayesian", "scorer": "snr", "levels": 2}
MINE = """
from bayesian_lottery.tickets.patterns import PATTERNS, Pattern
from bayesian_lottery.tickets.rankings import RANKINGS, Ranking


def rows(mask, scores, contests, model):
    \"\"\"Half of the rows of every layer, those of the lowest sums.\"\"\"
    pruned = {name: layer.clone() for name, layer in mask.items()}
    for name, layer in pruned.items():
        layer[scores[name].sum(1).argsort()[: len(layer) // 2]] = False
    return pruned


PATTERNS["rows"] = Pattern("half of the rows", rows, levels=1)
RANKINGS["ends"] = Ranking("first and last against the others", lambda n: [[n[0], n[-1]], n[1:-1]])
"""
OWN = {
    "rankings": {"frankle_carbin": {"kind": "layerwise", "shares": {"classifier": 0.1}}},
    "extensions": ["mine.py"],
    "weights": "all",
}
LAYERS = {"hidden.0.weight": 6400, "hidden.1.weight": 5000, "classifier.weight": 500}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A study that ran to its end, and then got rankings and patterns."""
    folder = tmp_path_factory.mktemp("ranked")
    checkout(folder)
    (folder / "mine.py").write_text(MINE)
    study = Study(folder)
    study.config |= {"trunks": [PLAIN, BAYESIAN], "weights": "all"}
    del study.config["branches"]
    study.snakemake()
    before = written(folder)
    study.config |= OWN
    study.config["trunks"] += [
        {**PLAIN, "ranking": "frankle_carbin", "search": ["iterative", "one_shot"]},
        {**PLAIN, "pattern": "units", "ranking": ["global", "layerwise"]},
        {**PLAIN, "pattern": ["2of4", "rows"], "levels": 1},
        {**PLAIN, "ranking": "ends", "levels": 1},
        {**BAYESIAN, "pattern": "units", "ranking": "frankle_carbin", "rewind": "lrr"},
    ]
    study.config["branches"] = [
        {"branch": ["reinit", "transplant_trained"], "inference": "deterministic",
         "ranking": "frankle_carbin", "search": "iterative", "pattern": "weights", "levels": [2]},
    ]  # fmt: skip
    planned = study.planned()
    # Of level 1: frankle_carbin, units twice, 2of4, rows, ends; and one of level 2.
    assert planned["prune_deterministic"] == 7 and planned["prune_bayesian"] == 1, planned
    assert not {"train_dense_deterministic", "train_dense_bayesian"} & planned.keys(), planned
    study.snakemake()
    assert before.items() <= written(folder).items(), "what was trained was trained again"
    return study


def layers(study: Study, **wanted) -> pd.DataFrame:
    """The layers of trunks, by level and name."""
    table = pd.read_parquet(study.folder / RESULTS / "tables/layers.parquet")
    wanted = {"search": "iterative", "ranking": "global", "pattern": "weights", **wanted}
    for name, value in wanted.items():
        table = table[(table[name] == value).fillna(False)]
    return table[table["branch"].isna()].set_index(["level", "name"])


def left(count: int, percent: int, level: int) -> int:
    for _ in range(level):
        count -= percent * count // 100
    return count


@pytest.mark.parametrize("search", ["iterative", "one_shot"])
def test_every_layer_is_pruned_by_its_own_share_the_classifier_by_half_of_it(study, search):
    found = layers(study, ranking="frankle_carbin", search=search, inference="deterministic")
    assert found["survivors"].to_dict() == {
        (level, name): left(size, 10 if name.startswith("classifier") else 20, level)
        for level in (1, 2)
        for name, size in LAYERS.items()
    }


def test_units_go_whole_and_the_tables_hold_what_was_reached(study):
    pruned = [{"ranking": "global"}, {"ranking": "layerwise"},
              {"ranking": "frankle_carbin", "inference": "bayesian"}]  # fmt: skip
    for wanted in pruned:
        found = layers(study, pattern="units", **wanted)
        assert len(found) == 2 * len(LAYERS)
        for level in (1, 2):
            first, second, last = (found.loc[level, name]["survivors"] for name in LAYERS)
            assert first % 64 == 0 and last % 10 == 0
            assert second == first // 64 * (last // 10)
            assert first + second + last <= left(sum(LAYERS.values()), 19, level)


def test_an_extensions_pattern_and_ranking_are_used(study):
    rows = layers(study, pattern="rows")["survivors"]
    assert rows.to_dict() == {(1, "hidden.0.weight"): 3200, (1, "hidden.1.weight"): 2500}
    two = layers(study, pattern="2of4")["survivors"]
    assert two.to_dict() == {(1, "hidden.0.weight"): 3200, (1, "hidden.1.weight"): 2500}
    assert layers(study, ranking="ends")["survivors"].sum() == left(11400, 20, 1)


def test_branches_have_the_classifiers_mask_and_zeros_under_it(study):
    level = (
        "runs/digits/lenet_100_50/deterministic/short/seed0/magnitude_imp_frankle_carbin/level02"
    )
    for branch in ("reinit_0", "transplant_trained_0"):
        mask = masks.load(study.folder / RESULTS / level / branch / "mask.safetensors")
        assert int(mask["classifier.weight"].sum()) == left(500, 10, 2)


def test_a_ticket_of_units_is_exported_smaller(study):
    seed = f"{RESULTS}/runs/digits/lenet_100_50/bayesian/short/seed0"
    node = f"{seed}/snr_lrr_frankle_carbin_units/level02"
    files = ["--data", f"{RESULTS}/data/digits.safetensors", "--output", "ticket"]
    command = [sys.executable, "scripts/export.py", node, *files, "--multiple", "1"]
    subprocess.run(command, cwd=study.folder, env=study.environment, check=True)
    first, _, last = read_json(study.folder / node / "metrics.json")["layers"]
    units = first["survivors"] // 64 + last["survivors"] // 10
    assert read_tensors(study.folder / "ticket")[1]["units"] == [150, units] and units < 130


def test_a_finished_study_has_nothing_to_do(study):
    assert study.planned() == {}


def test_other_shares_train_the_nodes_of_that_ranking_alone(study):
    study.config["rankings"]["frankle_carbin"]["shares"] = {"classifier": 0.3}
    trained = study.trained()
    study.config["rankings"]["frankle_carbin"]["shares"] = {"classifier": 0.1}
    # two searches and units, two levels each, and two branches
    assert sum(trained.values()) == 3 * 2 + 2, trained
