"""Trunks of other searches: their nodes, what these start from, and what goes together."""

from dataclasses import replace

import pytest
from six_trunks import DENSE, configuration, level, one_shot, with_branches

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.running import work
from bayesian_lottery.study.files import Origin


@pytest.fixture
def config() -> dict:
    return configuration()


def test_searches_share_the_dense_network_and_have_folders_of_their_own(config):
    before = study.nodes(config)
    config["trunks"][1]["search"] = ["iterative", "one_shot"]
    after = study.nodes(config)
    assert set(before) < set(after) and len(after) == len(before) + 2 * 2 * 2
    assert {node.level for node in set(after) - set(before)} == {1, 2}
    assert one_shot(2).folder.endswith("/seed0/snr_imp_one_shot/level02")
    assert one_shot(2).dense == level(2).dense == DENSE
    config = with_branches(config, branch="reinit", search="one_shot")
    assert {node.search for node in study.nodes(config) if node.branch} == {"one_shot"}


def test_a_level_of_a_fan_starts_from_the_dense_network_alone(config):
    dense = f"out/{DENSE.folder}"
    assert {o.node for o in study.origins(config, one_shot(5, "lrr")).values()} == {DENSE}
    found = study.node_inputs(config, one_shot(2, "lrr"))
    assert found["mask"] == f"{dense}/next_mask_snr_level02.safetensors"
    assert found["rewind_weights"] == f"{dense}/weights.safetensors"
    assert study.node_inputs(config, one_shot(1)) == study.node_inputs(config, level(1))
    branch = replace(one_shot(2), branch="reinit", replicate=0)
    assert study.node_inputs(config, branch) == study.node_inputs(config, one_shot(2))
    assert study.scorers(config, one_shot(2)) == []
    assert study.node_outputs(config, one_shot(2))["next_masks"] == {}
    assert study.starts_others(config, level(2, rewind="lrr"))
    assert not study.starts_others(config, one_shot(2, "lrr"))


def found_by(config, search, **entry):
    """A Bayesian trunk of another search, and that search's options."""
    config["searches"] = {"mine": {"kind": search}}
    config["trunks"] = [{**config["trunks"][1], "search": "mine", **entry}]
    return [node for node in study.nodes(config) if node.level == 2]


@pytest.mark.parametrize("search", ["dynamic", "gradual", "at_init"])
def test_a_level_that_makes_its_own_mask_waits_for_no_other_and_its_branches_for_it(config, search):
    level, *_ = found_by(config, search)
    assert study.origins(config, level) == {} and study.previous(config, level) is None
    assert study.node_outputs(config, level)["mask"] == f"out/{level.folder}/mask.safetensors"
    settings = study.node_settings(config, level)
    assert settings["search_options"]["kind"] == search and settings["scorers"] == []
    branch = replace(level, branch="reinit", replicate=0)
    assert study.origins(config, branch) == {"mask": Origin(level, "mask")}
    assert "search_options" not in study.node_settings(config, branch)
    alone = [
        len(pack) == 1 for pack in study.packs(config, study.nodes(config), 9) if level in pack
    ]
    assert alone == [search != "at_init"]


def test_early_masks_lie_with_the_dense_network_and_options_are_the_watchs_alone(config):
    level, *_ = found_by(config, "early", ranking="layerwise")
    mask = study.node_inputs(config, level)["mask"]
    assert mask == f"out/{level.dense.folder}/watched_mine_snr_layerwise/level02.safetensors"
    dense = {node for node in study.nodes(config) if node.level == 0}
    assert study.watches(config, study.nodes(config)) == {
        (node, f"watched_mine_{scorer}_layerwise"): 20 for node in dense for scorer in ("snr", "mu")
    }
    stages = [job for job in work.jobs(config, study.nodes(config)) if job.watched]
    assert {job.watched for job in stages} == dense and len(stages) == 2 * len(dense)
    table = f"out/{level.dense.folder}/watched_mine_snr_layerwise/distances.csv"
    assert table in {str(job.output) for job in stages}
    before, task = study.node_settings(config, level), study.watching_task(config, level)
    config["searches"]["mine"]["window"] = 3
    assert study.node_settings(config, level) == before
    changed = study.watching_task(config, level)
    assert task["settings"]["watch"]["window"] == 5 and changed["settings"]["watch"]["window"] == 3
    assert task["settings"]["ranking"] == "layerwise" and "search" not in task["settings"]


@pytest.mark.parametrize(
    ("search", "entry", "sentence"),
    [
        ("dynamic", {"rewind": "lrr"}, "rewind: 'lrr' goes back to the trained network that was"),
        ("early", {"rewind": "lrr"}, "and the search 'mine' has none; use imp, late there."),
        ("dynamic", {"ranking": "layerwise"}, "ranking: 'layerwise' does not go with the search"),
        (
            "early",
            {"levels": 21},
            "levels: 21 is too many, for the search 'mine' watches 20",
        ),
        ("gradual", {"pattern": "units"}, "pattern: 'units' does not go with the search 'mine'; "),
    ],
)
def test_what_does_not_go_with_a_search_is_refused(config, search, entry, sentence):
    with pytest.raises(InputError, match=sentence):
        found_by(config, search, **entry)
