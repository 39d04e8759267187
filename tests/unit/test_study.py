"""The configuration expanded into trunks, nodes, files and settings."""

import copy
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.running import work
from bayesian_lottery.study import Node, Trunk
from bayesian_lottery.study.files import Origin
from bayesian_lottery.training import jobs

CURRICULUM = {"epochs": 2, "learning_rate": 0.1, "batch_size": 8, "milestones": []}
DENSE = Node("digits", "lenet5", "bayesian", "short", 0, None, None, 0)


@pytest.fixture
def config() -> dict:
    """Two deterministic and four Bayesian trunks, with all defaults filled in."""
    shared = {"dataset": "digits", "model": "lenet5", "rewind": "imp", "seeds": [0, 1]}
    return {
        "results": "out",
        "datasets": {
            "digits": {
                "source": "digits",
                "validation": 0.1,
                "augment": {"flip": False, "crop": 1},
            },
            "other": {"source": "digits", "validation": 0.0, "augment": {}},
        },
        "curricula": {"short": CURRICULUM, "long": {**CURRICULUM, "epochs": 9}},
        "prune_fraction": 0.2,
        "bayesian": {"samples": 3, "heat": 0.1},
        "evaluation": {"samples": 4, "passes": 5, "every": 1, "bins": 10, "batch_size": 100},
        "checkpoint_seconds": 300,
        "device": "auto",
        "weights": "needed",
        "branches": [],
        "compute": {"precision": "auto"},
        "trunks": [
            {
                **shared,
                "inference": "deterministic",
                "scorer": "magnitude",
                "curriculum": "short",
                "levels": 3,
            },
            {
                **shared,
                "inference": "bayesian",
                "scorer": ["snr", "mu"],
                "curriculum": ["short", "long"],
                "seeds": [0],
                "levels": 2,
            },
        ],
    }


def level(number: int, scorer: str = "snr", rewind: str = "imp") -> Node:
    return Node("digits", "lenet5", "bayesian", "short", 0, scorer, rewind, number)


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


def one_shot(number: int, rewind: str = "imp") -> Node:
    return replace(level(number, rewind=rewind), search="one_shot")


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


def test_figures_and_claims_are_told_of_ways_only_where_the_configuration_names_some(config):
    """So that the parameters of figures that are drawn stay as they are, byte for byte."""
    assert study.ways({**config, "tickets": {"search": "iterative"}, "searches": {}}) == {}
    config["searches"] = {"rigl": {"kind": "dynamic", "growth": "gradient"}}
    config["tickets"] = {"search": "iterative", "ranking": "layerwise"}
    assert study.ways(config) == {
        "tickets": {"ranking": "layerwise"},
        "kinds": {"search": {"rigl": "dynamic"}},
    }


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


def with_branches(config, **entry):
    return {**config, "branches": [{"levels": [1], "replicates": 1, **entry}]}


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
        ({"branch": "reinit", "model": "vgg11"}, "branches entry 1: it matches no trunk"),
        ({"branch": "reinit", "levels": [3]}, "branches entry 1.levels: 3 lies beyond level 2"),
        ({"branch": "transplant_initial"}, "add 'inference: deterministic'"),
    ],
)
def test_branches_that_make_no_sense_are_refused(config, entry, sentence):
    with pytest.raises(InputError) as refused:
        study.nodes(with_branches(config, **entry))
    assert sentence in str(refused.value)


def test_a_study_that_is_too_large_is_refused_at_once_with_its_product(config):
    config["trunks"][1] |= {"seeds": list(range(200)), "levels": 999}
    with pytest.raises(InputError) as refused:
        study.nodes(config)
    assert str(refused.value) == (
        "trunks entry 2: 2 scorer x 2 curriculum x 200 seeds x 1,000 levels = 800,000 networks, "
        "with those before 800,008; a study has at most 50,000, for Snakemake plans no more in "
        "minutes."
    )


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


def test_importing_needs_neither_torch_nor_snakemake():
    code = "import sys, bayesian_lottery.study; print({'torch', 'snakemake'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert printed.strip() == "set()"
