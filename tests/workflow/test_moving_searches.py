"""Searches whose levels make their own masks, in a finished study: all trained, none again."""

import pandas as pd
import pytest
from test_extensions import written
from test_partial import RESULTS, Study, checkout

from bayesian_lottery.files import read_json
from bayesian_lottery.tickets import masks

SHARED = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "short", "seeds": [0]}
KINDS = {"deterministic": ["magnitude"], "bayesian": ["snr"]}
SEARCHES = {
    "set": {"kind": "dynamic", "every": 4},
    "rigl": {"kind": "dynamic", "growth": "gradient", "every": 4, "layers": "uniform"},
    "thinning": {"kind": "gradual", "every": 4},
    "synaptic": {"kind": "at_init", "rounds": 5, "batch": 50},
}
FROM_INITIAL = ["random", "snip", "grasp", "synflow"]


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """A study of iterative trunks that ran to its end, and then got searches of other kinds."""
    folder = tmp_path_factory.mktemp("moving")
    checkout(folder)
    study = Study(folder)
    trunks = [
        {**SHARED, "inference": inference, "scorer": scorers, "levels": 2}
        for inference, scorers in KINDS.items()
    ]
    study.config["trunks"] = trunks
    del study.config["branches"]
    study.snakemake()
    before = written(folder)
    study.config["searches"] = SEARCHES
    study.config["trunks"] = [
        *trunks,
        *({**trunk, "search": ["set", "rigl", "thinning"]} for trunk in trunks),
        *({**trunk, "search": "at_init", "scorer": FROM_INITIAL[:3], "levels": 1}
          for trunk in trunks),
        *({**trunk, "search": "synaptic", "scorer": "synflow"} for trunk in trunks),
        *({**trunk, "search": "early"} for trunk in trunks),
        {**trunks[0], "search": "early", "pattern": "units", "levels": 1},
    ]  # fmt: skip
    study.config["branches"] = [
        {"branch": ["reinit", "shuffle_layerwise"], "search": "rigl", "levels": [2]}
    ]
    planned = study.planned()
    assert planned["train_level_alone"] == 2 * (3 * 2 + 3 + 2), planned
    assert planned["train_branch"] == 2 * 2, planned
    assert planned["watch_early_magnitude"] == planned["watch_early_snr"] == 1, planned
    assert planned["watch_early_magnitude_units"] == 1, planned
    assert planned["train_level_apart"] == 2 * 2 + 1, planned
    assert not {"train_level", "train_dense_bayesian", "initialise"} & planned.keys()
    assert not any(rule.startswith("prune") for rule in planned)
    study.snakemake()
    assert before.items() <= written(folder).items(), "what was trained was trained again"
    return study


def test_the_tables_hold_every_search_with_the_same_counts(study):
    runs = pd.read_parquet(study.folder / RESULTS / "tables/runs.parquet")
    trunks = runs[runs["branch"].isna() & (runs["level"] > 0)]
    assert set(trunks["search"]) == {"iterative", "at_init", "early", *SEARCHES}
    single = trunks[trunks["pattern"] == "weights"]
    assert (single.groupby("level")["survivors"].nunique() == 1).all()
    assert runs["connected"].all() and (runs["emptied"] == 0).all()


def test_a_branch_starts_from_the_mask_that_its_level_ended_with(study):
    levels = list((study.folder / RESULTS).glob("runs/**/*_rigl/level02"))
    assert len(levels) == 2
    for level in levels:
        mask = masks.load(level / "mask.safetensors")
        same = masks.load(level / "reinit_0/mask.safetensors")
        assert all((mask[name] == same[name]).all() for name in mask)
        other = masks.load(level / "shuffle_layerwise_0/mask.safetensors")
        assert any((mask[name] != other[name]).any() for name in mask)
        settings = read_json(level / "reinit_0/metrics.json")["settings"]
        assert "search_options" not in settings, "a branch's mask does not move"


def test_an_option_trains_the_levels_of_its_search_alone(study):
    assert study.planned() == {}
    study.config["searches"] = {**SEARCHES, "set": {**SEARCHES["set"], "share": 0.5}}
    assert study.trained() == {"train_level_alone": 2 * 2}
    study.config["searches"] = SEARCHES


def test_a_deeper_level_is_trained_and_nothing_else(study):
    trunks = study.config["trunks"]
    deeper = {**trunks[0], "search": "early", "levels": 3}
    study.config["trunks"] = [deeper if t == {**deeper, "levels": 2} else t for t in trunks]
    trained = study.trained()
    study.config["trunks"] = trunks
    assert trained == {"train_level_apart": 1}


def test_side_by_side_those_whose_masks_move_train_alone(study):
    """Beside others that do not: seeds of one level make a pack, but not where masks move."""
    packed = Study(study.folder)
    trunk = {**study.config["trunks"][0], "seeds": [0, 1], "levels": 1}
    packed.config = {
        **study.config,
        "results": "packed",
        "networks_per_job": 4,
        "trunks": [{**trunk, "search": ["iterative", "set"]},
                   {**trunk, "search": "at_init", "scorer": ["random", "snip"]}],
        "branches": [],
    }  # fmt: skip
    planned = packed.trained()
    # dense; iterative and at_init at level 1: 2 + 4 in packs of 4; set: two alone.
    assert sum(planned.values()) == 1 + 2 + 2, planned
    packed.snakemake("tables")
    runs = pd.read_parquet(study.folder / "packed/tables/runs.parquet")
    assert (runs[runs["level"] == 1]["survivors"].nunique() == 1) and len(runs) == 2 * (1 + 4)
