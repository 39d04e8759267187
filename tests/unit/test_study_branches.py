"""Branches of a configuration: their nodes, what these start from, and what is refused."""

from dataclasses import replace

import pytest
from six_trunks import configuration, level, with_branches

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.study import Node


@pytest.fixture
def config() -> dict:
    return configuration()


def test_branches_start_from_the_levels_of_all_trunks_that_match(config):
    config = with_branches(config, branch=["reinit", "shuffle_even"], levels=[0, 2], replicates=2)
    found = [node for node in study.nodes(config) if node.branch]
    # levels 0 and 2 of 2 deterministic trunks; of Bayesian ones, level 0 is shared by 2 scorers
    levels = 2 * 2 + 2 * (1 + 2)
    assert len(found) == len(set(found)) == 2 * 2 * levels
    assert {node.replicate for node in found} == {0, 1}
    config = with_branches(config, branch="reinit", scorer="mu", curriculum="long", levels="all")
    found = [node for node in study.nodes(config) if node.branch]
    assert [node.level for node in found] == [0, 1, 2]
    assert found[2].folder.endswith("bayesian/long/seed0/mu_imp/level02/reinit_0")


def test_a_branch_depends_on_its_level_alone(config):
    branch = replace(level(2), branch="shuffle_even", replicate=1)
    assert study.node_inputs(config, branch) == study.node_inputs(config, level(2))
    learning_rate_rewinding = replace(level(2, rewind="lrr"), branch="reinit", replicate=0)
    assert "rewind_weights" not in study.node_inputs(config, learning_rate_rewinding)
    trunk = Node("digits", "lenet5", "deterministic", "short", 0, "magnitude", "imp", 2)
    transplant = replace(trunk, branch="transplant_trained", replicate=0)
    weights = study.node_inputs(config, transplant)["trained_weights"]
    assert weights == f"out/{trunk.folder}/weights.safetensors"
    assert study.scorers(config, branch) == []


def test_a_transplant_is_trained_by_variational_inference(config):
    trunk = Node("digits", "lenet5", "deterministic", "short", 0, "magnitude", "imp", 2)
    settings = study.node_settings(config, replace(trunk, branch="transplant_initial", replicate=0))
    assert settings["inference"] == "bayesian" and settings["bayesian"] == config["bayesian"]
    assert settings["evaluation"]["passes"] == 5


def test_a_kind_of_branch_of_ones_own(config):
    config = with_branches(config, branch="back", inference="bayesian", levels=[2])
    config["branch_kinds"] = {
        "back": {"of": "bayesian", "inference": "deterministic", "weights": "trained",
                 "curriculum": "long"}
    }  # fmt: skip
    node = next(node for node in study.nodes(config) if node.branch)
    assert node == replace(level(2), branch="back", replicate=0)
    settings = study.node_settings(config, node)
    assert settings["inference"] == "deterministic" and "bayesian" not in settings
    assert settings["curriculum"] == config["curricula"]["long"]
    assert settings["pieces"]["weights"] == "trained"
    assert study.node_inputs(config, node)["trained_weights"].endswith(
        f"{level(2).folder}/weights.safetensors"
    )


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"branch": "shuffle"}, "branches entry 1.branch: 'shuffle' is not known; choose from"),
        (
            {"branch": "reinit", "inference": "deterministic", "scorer": "snr"},
            "branches entry 1: it matches no trunk",
        ),
        (
            {"branch": "reinit", "inference": ["deterministic", "baysian"]},
            "branches entry 1.inference: 'baysian' is not known; choose from bayesian, determin",
        ),
        ({"branch": "reinit", "model": "vgg11"}, "branches entry 1.model: 'vgg11' is not known; "),
        ({"branch": "reinit", "seeds": [0, 7]}, "branches entry 1.seeds: 7 is not known; choose"),
        ({"branch": "reinit", "levels": [3]}, "branches entry 1.levels: 3 lies beyond level 2"),
        ({"branch": "transplant_initial"}, "add 'inference: deterministic'"),
    ],
)
def test_branches_that_make_no_sense_are_refused(config, entry, sentence):
    with pytest.raises(InputError) as refused:
        study.nodes(with_branches(config, **entry))
    assert sentence in str(refused.value)


def test_values_of_an_entry_need_not_all_go_together(config):
    both = {"inference": ["deterministic", "bayesian"], "scorer": ["magnitude", "snr"]}
    config = with_branches(config, branch="reinit", levels=[1], **both)
    found = {(n.inference, n.scorer) for n in study.nodes(config) if n.branch}
    assert found == {("deterministic", "magnitude"), ("bayesian", "snr")}


def test_branches_count_too(config):
    config = with_branches(config, branch="reinit", scorer="mu", levels=[1], replicates=10**9)
    with pytest.raises(InputError) as refused:
        study.nodes(config)
    words = "branches entry 1, reinit: 2 levels of its trunks x 1,000,000,000 replicates = 2,000"
    assert str(refused.value).startswith(words)


def test_a_branch_listed_twice_is_refused(config):
    config = with_branches(config, branch="reinit")
    config["branches"].append({**config["branches"][0], "scorer": "snr", "replicates": 3})
    with pytest.raises(InputError, match=r"reinit_0 is listed twice \(entries 1 and 2\)"):
        study.nodes(config)
