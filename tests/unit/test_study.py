"""The configuration expanded into trunks, nodes and files."""

import subprocess
import sys

import pytest
from six_trunks import DENSE, configuration, level

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.study import Trunk


@pytest.fixture
def config() -> dict:
    return configuration()


def test_folders_spell_the_coordinates():
    assert DENSE.folder == "runs/digits/lenet5/bayesian/short/seed0/dense"
    assert level(3).folder == "runs/digits/lenet5/bayesian/short/seed0/snr_imp/level03"


def test_every_level_follows_the_one_before_and_level_1_the_shared_dense_network(config):
    assert study.previous(config, level(3)) == level(2)
    assert study.previous(config, level(1)) == DENSE
    assert study.previous(config, level(1, "mu", "lrr")) == DENSE
    assert study.previous(config, DENSE) is None


def test_entries_expand_to_every_combination(config):
    trunks = study.expand(config)
    assert len(trunks) == 2 + 4
    assert trunks[0] == Trunk(
        "digits", "lenet5", "deterministic", "magnitude", "imp", "short", seed=0, levels=3
    )
    assert {(t.scorer, t.curriculum) for t in trunks[2:]} == {
        (scorer, curriculum) for scorer in ("snr", "mu") for curriculum in ("short", "long")
    }


def test_trunks_share_dense_nodes(config):
    nodes = study.nodes(config)
    # two seeds of dense + 3 levels; two curricula of dense + 2 scorers x 2 levels
    assert len(nodes) == len(set(nodes)) == 2 * (1 + 3) + 2 * (1 + 2 * 2)
    assert nodes.count(DENSE) == 1


def test_metrics_files_are_those_of_all_nodes(config):
    files = study.metrics_files(config)
    assert len(files) == len(study.nodes(config))
    assert f"out/{level(2).folder}/metrics.json" in files


@pytest.mark.parametrize(
    ("entry", "key", "value", "sentence"),
    [
        (0, "dataset", "cifar", "trunks entry 1.dataset: 'cifar' is not known; choose from digits"),
        (1, "curriculum", ["short", "slow"], "trunks entry 2.curriculum: 'slow' is not known"),
        (0, "inference", "bayes", "'bayes' is not known; choose from bayesian, deterministic"),
        (1, "scorer", "sigma", "trunks entry 2.scorer: 'sigma' is not known; choose from grasp,"),
        (1, "rewind", "none", "entry 2.rewind: 'none' is not known; choose from imp, late, lrr."),
        (
            *(1, "search", ["iterative", "random"]),
            "trunks entry 2.search: 'random' is not known; choose from at_init,",
        ),
        (0, "scorer", "snr", "'snr' cannot score deterministic networks; use magnitude, random"),
        (1, "scorer", "magnitude", "cannot score bayesian networks; use snr, square, mu, random, "),
    ],
)
def test_coordinates_that_are_not_allowed_are_refused(config, entry, key, value, sentence):
    config["trunks"][entry][key] = value
    with pytest.raises(InputError) as refused:
        study.expand(config)
    assert sentence in str(refused.value)


def test_a_trunk_listed_twice_is_refused_even_with_other_levels(config):
    config["trunks"].append({**config["trunks"][0], "seeds": [7, 1], "levels": 9})
    with pytest.raises(InputError) as refused:
        study.expand(config)
    assert str(refused.value) == (
        "trunks: deterministic/magnitude/imp of lenet5 on digits with curriculum short, seed 1, "
        "is listed twice (entries 1 and 3)."
    )


def test_find_says_the_last_level_or_what_comes_closest(config):
    known = {node.folder: node for node in study.nodes(config)}
    assert study.find(known, level(2).folder) == level(2)
    with pytest.raises(InputError, match="its last level is 2"):
        study.find(known, level(99).folder)
    with pytest.raises(InputError, match=f"did you mean {level(2).folder}"):
        study.find(known, level(2).folder.replace("lenet5", "lenet"))
    with pytest.raises(InputError, match="is not in the configuration"):
        study.find(known, "nonsense")


def test_a_level_starts_from_the_mask_of_the_one_before(config):
    seed = "out/runs/digits/lenet5/bayesian/short/seed0"
    shared = {
        "data": "out/data/digits.safetensors",
        "initial": "out/initial/digits/lenet5/seed0.safetensors",
    }
    assert study.node_inputs(config, DENSE) == shared
    assert study.node_inputs(config, level(1)) == {
        **shared,
        "mask": f"{seed}/dense/next_mask_snr.safetensors",
    }
    assert study.node_inputs(config, level(2, rewind="lrr")) == {
        **shared,
        "mask": f"{seed}/snr_lrr/level01/next_mask.safetensors",
        "rewind_weights": f"{seed}/snr_lrr/level01/weights.safetensors",
    }


def test_a_dense_network_is_pruned_by_all_scorers_whatever_the_trunks(config):
    assert study.scorers(config, DENSE) == ["snr", "square", "mu"]
    assert study.scorers(config, level(1)) == ["snr"]


def test_a_study_that_is_too_large_is_refused_at_once_with_its_product(config):
    config["trunks"][1] |= {"seeds": list(range(200)), "levels": 999}
    with pytest.raises(InputError) as refused:
        study.nodes(config)
    assert str(refused.value) == (
        "trunks entry 2: 2 scorer x 2 curriculum x 200 seeds x 1,000 levels = 800,000 networks, "
        "with those before 800,008; a study has at most 50,000, for Snakemake plans no more in "
        "minutes."
    )


def test_importing_needs_neither_torch_nor_snakemake():
    code = "import sys, bayesian_lottery.study; print({'torch', 'snakemake'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert printed.strip() == "set()"
