"""Rankings: what competes, exact counts, and what a configuration may say of them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_study import SCHEMA, STUDY
from torch.nn.utils import prune as torch_prune

from bayesian_lottery import models, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import configuration
from bayesian_lottery.tickets import masks, patterns, rankings

ONE = {"curriculum": "adam", "rewind": "imp"}
FRANKLE_CARBIN = {"classifier": 0.1}


def counted(size: int, percent: int, level: int) -> int:
    """By whole numbers alone: each level prunes floor(percent x left / 100)."""
    for _ in range(level):
        size -= percent * size // 100
    return size


def drawn(mask, seed):
    stream = generator("scores", seed)
    return {name: torch.rand(layer.shape, generator=stream) for name, layer in mask.items()}


def ranked(mask, scores, level, kind="layerwise", shares=None, fraction=0.2):
    sizes = {name: layer.numel() for name, layer in mask.items()}
    contests = rankings.contests(kind, shares or {}, sizes, fraction, level)
    return patterns.prune("weights", mask, scores, contests, torch.nn.Module())


sizes = st.lists(st.integers(1, 400), min_size=1, max_size=5)


@given(sizes, st.integers(0, 95), st.integers(1, 6), st.integers(0, 5))
def test_every_layer_and_the_whole_have_exact_counts(sizes, percent, levels, seed):
    whole = layered = masks.ones({f"{i}.weight": torch.Size([n]) for i, n in enumerate(sizes)})
    own = {"0": 0.35}
    shared = layered
    for level in range(1, levels + 1):
        scores = drawn(whole, (seed, level))
        whole = ranked(whole, scores, level, "global", fraction=percent / 100)
        layered = ranked(layered, scores, level, fraction=percent / 100)
        shared = ranked(shared, scores, level, "global", own, fraction=percent / 100)
        assert masks.survivors(whole) == counted(sum(sizes), percent, level)
        for layer, size in zip(layered.values(), sizes, strict=True):
            assert int(layer.sum()) == counted(size, percent, level)
        assert int(shared["0.weight"].sum()) == counted(sizes[0], 35, level)
        rest = counted(sum(sizes[1:]), percent, level)
        assert masks.survivors(shared) == rest + int(shared["0.weight"].sum())


def test_the_global_ranking_is_that_of_before():
    mask = before = masks.ones({"a": torch.Size([40, 9]), "b": torch.Size([50])})
    for level in range(1, 9):
        scores = drawn(mask, level)
        scores["b"][:10] = 0.5  # ties
        mask, before = ranked(mask, scores, level, "global"), masks.prune(before, scores, 0.2)
        assert all(torch.equal(mask[name], before[name]) for name in mask)


@pytest.mark.parametrize("level", [1, 2])
def test_a_layer_is_pruned_as_by_pytorch(level):
    """20 % of each layer and 10 % of the last, by magnitude."""
    model = models.build("lenet_100_50", (1, 8, 8), 10, seed=3)
    plain = models.build("lenet_100_50", (1, 8, 8), 10, seed=3)
    mask = masks.ones(models.prunable(model, classifier=True))
    scores = {name: dict(model.named_parameters())[name].abs() for name in mask}
    for number in range(1, level + 1):
        mask = ranked(mask, scores, number, shares=FRANKLE_CARBIN)
    for name, layer in mask.items():
        module = plain.get_submodule(name.removesuffix(".weight"))
        share = 10 if name.startswith("classifier") else 20
        for _ in range(level):
            left = int(getattr(module, "weight_mask", layer | True).sum())
            torch_prune.l1_unstructured(module, "weight", amount=share * left // 100)
        assert torch.equal(layer, module.weight_mask.bool()), name


def configured(tmp_path: Path, trunk: dict, **others) -> dict:
    """The small study with one trunk; loading it checks everything that is checked before jobs."""
    trunks = [{**STUDY["trunks"][0], "model": "lenet_100_50", **ONE, **trunk}]
    content = {**STUDY, "results": str(tmp_path), "trunks": trunks, "branches": [], **others}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(content))
    return configuration.load([tmp_path / "study.yaml"], [], SCHEMA)[0]


def variant(**entry):
    return {"rankings": {"mine": {"kind": "layerwise", **entry}}}


@pytest.mark.parametrize(
    ("trunk", "others", "sentence"),
    [
        (
            *({"ranking": "local"}, {}),
            "trunks entry 1.ranking: 'local' is not known; choose from global, layerwise.",
        ),
        (
            *({"pattern": "2:4"}, {}),
            "trunks entry 1.pattern: '2:4' is not known; choose from 2of4, units, weights.",
        ),
        (
            *({"pattern": "2of4", "levels": 2}, {}),
            "trunks entry 1.levels: 2 is too many, for the pattern 2of4 has so few densities that "
            "its last level is 1.",
        ),
        (
            *({}, variant(kind="by size")),
            "rankings.mine.kind: 'by size' is not known; choose from global, layerwise.",
        ),
        (
            *({}, variant(shares={"classifier": 1})),
            "rankings.mine.shares.classifier: 1 is not allowed; it must be a number of at least 0 "
            "and of at most 0.999, for more prunes all of a layer.",
        ),
        (
            *({"ranking": "mine"}, variant(shares={"hidden": 0.1})),
            "rankings.mine.shares, a layer of lenet_100_50: 'hidden' is not known; choose from "
            "classifier, hidden.0, hidden.1.",
        ),
        (
            *({}, {"rankings": {"layerwise": {"kind": "global"}}}),
            "rankings.layerwise: layerwise is a kind of its own; give this ranking another name.",
        ),
        (
            *({}, {"rankings": {"my_lrr": {"kind": "global"}}}),
            "rankings.my_lrr: a folder's name would not tell it from 'lrr', which is a rewind, "
            "search or pattern; give it another name.",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_job(tmp_path, trunk, others, sentence):
    with pytest.raises(InputError) as refused:
        configured(tmp_path, trunk, **others)
    assert str(refused.value) == sentence


def test_a_variant_tells_its_nodes_what_it_is_and_no_others(tmp_path):
    before = configured(tmp_path, {})
    both = {"ranking": ["global", "layerwise", "mine"], "levels": 2}
    after = configured(tmp_path, both, **variant(shares={"classifier": 0.1, "hidden.0": 0}))
    told = {node: study.node_settings(after, node) for node in study.nodes(after)}
    for node in study.nodes(before):
        assert told[node] == study.node_settings(before, node)
    mine = {node.level: settings for node, settings in told.items() if node.ranking == "mine"}
    own = {"kind": "layerwise", "shares": {"classifier": 0.1, "hidden.0": 0}}
    assert mine[2]["ranking_options"] == own and mine[2]["ranking"] == "mine"
    assert rankings.options_of(mine[2]) == ("layerwise", own["shares"])
    [plain] = (s for node, s in told.items() if node.ranking == "layerwise" and node.level == 2)
    assert "ranking_options" not in plain and rankings.options_of(plain) == ("layerwise", {})


def test_masks_of_dense_networks_have_names_of_their_own(tmp_path):
    trunk = {
        "ranking": ["global", "mine"],
        "pattern": ["weights", "units"],
        "search": ["iterative", "one_shot"],
        "levels": 2,
    }
    config = configured(tmp_path, trunk, **variant())
    apart = study.masks_apart(config, study.nodes(config))
    names = {Path(path).stem.removeprefix("next_mask_magnitude") for path in apart}
    level_1 = {"_mine", "_units", "_mine_units"}
    assert names == level_1 | {f"{name}_level02" for name in {"", *level_1}}
    tasks = {Path(path).stem: study.pruning_task(config, node) for path, node in apart.items()}
    task = tasks["next_mask_magnitude_mine_units_level02"]
    assert task["level"] == 2 and task["pattern"] == "units"
    assert task["ranking_options"] == {"kind": "layerwise", "shares": {}}
    assert "ranking" not in tasks["next_mask_magnitude_level02"]
    [node] = (
        n for n in study.nodes(config) if n.folder.endswith("imp_one_shot_mine_units/level02")
    )
    assert study.node_inputs(config, node)["mask"] in apart


def test_nodes_of_other_rankings_do_not_train_side_by_side(tmp_path):
    """Their masks may cover the classifier or not, and what ran before stays as it was."""
    seeds = {"seeds": [0, 1], "inference": "deterministic", "scorer": "magnitude"}
    before = configured(tmp_path, seeds)
    after = configured(tmp_path, {**seeds, "ranking": ["global", "mine"]}, **variant())
    packed = [study.packs(config, study.nodes(config), 4) for config in (before, after)]
    assert all(pack in packed[1] for pack in packed[0])
    assert all(len({node.ranking for node in pack}) == 1 for pack in packed[1])


def test_the_registries_need_no_torch():
    code = (
        "import sys; from bayesian_lottery.tickets import patterns, rankings;"
        "from bayesian_lottery.study import ranking_checks; print('torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert printed.strip() == "False"
