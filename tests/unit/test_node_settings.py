"""The settings of a node say all that its numbers depend on, and nothing else."""

import copy
import json
from dataclasses import replace

import pytest
from six_trunks import CURRICULUM, DENSE, configuration, level, one_shot

from bayesian_lottery import study
from bayesian_lottery.training import jobs


@pytest.fixture
def config() -> dict:
    return configuration()


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        (("curricula", "short", "epochs"), 5, {"deterministic/short", "bayesian/short"}),
        (("curricula", "long", "epochs"), 5, {"bayesian/long"}),
        (("bayesian", "heat"), 1.0, {"bayesian/short", "bayesian/long"}),
        (("evaluation", "samples"), 99, {"bayesian/short", "bayesian/long"}),
        (
            ("evaluation", "bins"),
            15,
            {"deterministic/short", "bayesian/short", "bayesian/long"},
        ),
        (
            ("datasets", "digits", "augment", "crop"),
            2,
            {"deterministic/short", "bayesian/short", "bayesian/long"},
        ),
        (("datasets", "other", "validation"), 0.5, set()),
        (("datasets", "digits", "root"), "elsewhere", set()),
        (("device",), "cpu", set()),
        (("checkpoint_seconds",), 1, set()),
        (("weights",), "all", set()),
        (("results",), "elsewhere", set()),
    ],
)
def test_a_change_touches_the_settings_of_the_nodes_concerned_only(config, path, value, changed):
    other = copy.deepcopy(config)
    *parents, last = path
    place = other
    for key in parents:
        place = place[key]
    place[last] = value
    nodes = study.nodes(config)
    different = {
        node
        for node in nodes
        if study.node_settings(config, node) != study.node_settings(other, node)
    }
    expected = {node for node in nodes if f"{node.inference}/{node.curriculum}" in changed}
    assert different == expected


def test_settings_say_everything_that_training_uses(config):
    assert study.node_settings(config, level(2)) == {
        "dataset": "digits",
        "model": "lenet5",
        "inference": "bayesian",
        "curriculum": CURRICULUM,
        "seed": 0,
        "scorer": "snr",
        "rewind": "imp",
        "level": 2,
        "branch": None,
        "replicate": None,
        "augment": {"flip": False, "crop": 1},
        "validation": 0.1,
        "prune_fraction": 0.2,
        "compute": {"precision": "auto"},
        "scorers": ["snr"],
        "bayesian": {"samples": 3, "heat": 0.1},
        "evaluation": {"samples": 4, "passes": 5, "every": 1, "bins": 10, "batch_size": 100},
    }


def test_a_variant_is_its_kind_with_options_of_its_own(config):
    config["inferences"] = {"cold": {"kind": "bayesian", "heat": 0.01}}
    cold = replace(level(2), inference="cold")
    assert cold.folder == level(2).folder.replace("bayesian", "cold")
    settings = study.node_settings(config, cold)
    assert settings == {
        **study.node_settings(config, level(2)),
        "inference": "cold",
        "kind": "bayesian",
        "bayesian": {"samples": 3, "heat": 0.01},
    }
    config["trunks"][1] |= {"inference": "cold"}
    assert cold in study.nodes(config)
    assert study.scorers(config, replace(DENSE, inference="cold")) == ["snr", "square", "mu"]


def test_variants_and_kinds_of_branches_change_no_node_that_does_not_use_them(config):
    before = {node: study.node_settings(config, node) for node in study.nodes(config)}
    config["inferences"] = {"cold": {"kind": "bayesian", "heat": 0.01}}
    config["branch_kinds"] = {"both": {"mask": "shuffle_even", "weights": "reinitialised"}}
    after = {node: study.node_settings(config, node) for node in study.nodes(config)}
    assert json.dumps(list(after.values())) == json.dumps(list(before.values()))


def test_a_later_setting_that_means_what_was_done_before_is_not_told(config):
    """So that the parameters of finished jobs stay as they are, byte for byte."""
    before = json.dumps(study.node_settings(config, level(2)))
    for section, absent in study.ABSENT.items():
        for key, value in absent.items():
            config[section][key] = value
            assert json.dumps(study.node_settings(config, level(2))) == before
            config[section][key] = not value
            assert study.node_settings(config, level(2))[section][key] is not value
            del config[section][key]


def test_a_later_coordinate_is_absent_where_it_means_what_was_done_before(config):
    before = json.dumps([study.task(config, node) for node in study.nodes(config)])
    assert not any(f'"{word}"' in before for pair in study.LATER.items() for word in pair)
    for entry in config["trunks"]:
        entry |= study.LATER
    assert json.dumps([study.task(config, node) for node in study.nodes(config)]) == before
    told = study.task(config, one_shot(2))
    assert told["node"]["search"] == told["settings"]["search"] == "one_shot"
    streams = [jobs.stream_of(node.coordinates()) for node in (level(2), one_shot(2))]
    assert streams[1] == [*streams[0], "search=one_shot"]
    both = replace(level(2), ranking="layerwise", pattern="units")
    assert jobs.stream_of(both.coordinates()) == [
        *streams[0],
        "ranking=layerwise",
        "pattern=units",
    ]
    assert both.folder.endswith("/snr_imp_layerwise_units/level02")
    assert both.dense == DENSE and study.previous(config, both) == replace(both, level=1)
    assert study.is_shown(level(2).coordinates()) and not study.is_shown(both.coordinates())
    layerwise = {"ranking": "layerwise"}
    assert study.is_shown(DENSE.coordinates(), layerwise)
    assert not study.is_shown(level(2).coordinates(), layerwise)


def test_figures_and_claims_are_told_of_ways_only_where_the_configuration_names_some(config):
    """So that the parameters of figures that are drawn stay as they are, byte for byte."""
    assert study.ways({**config, "tickets": {"search": "iterative"}, "searches": {}}) == {}
    config["searches"] = {"rigl": {"kind": "dynamic", "growth": "gradient"}}
    config["tickets"] = {"search": "iterative", "ranking": "layerwise"}
    assert study.ways(config) == {
        "tickets": {"ranking": "layerwise"},
        "kinds": {"search": {"rigl": "dynamic"}},
    }


def test_claims_are_told_of_branches_whose_objectives_have_names_of_their_own(config):
    config["objectives"] = {"soft": {"kind": "distilled", "temperature": 2}}
    config["branch_kinds"] = {"d": {"objective": "soft"}, "plain": {"objective": "labels"}}
    assert study.ways(config) == {"kinds": {"branch": {"d": "distilled"}}}
