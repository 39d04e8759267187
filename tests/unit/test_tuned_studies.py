"""Population-based training in a study: trunks and branches, files, refusals, costs."""

import json
from pathlib import Path

import pytest
from small_study import STUDY, SmallStudy, interrupted

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors
from bayesian_lottery.running import speeds
from bayesian_lottery.study import node_metrics
from bayesian_lottery.study.datasets import Images
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import early, jobs, watching

TUNED = {"kind": "tuned", "members": 3, "samples": 2}
TRUNK = {
    **{"dataset": "digits", "model": "lenet_100_50", "rewind": "imp", "curriculum": "adam"},
    **{"seeds": [0], "levels": 1},
}
CHANGES = {
    "inferences": {"population": TUNED},
    "trunks": [
        {**TRUNK, "inference": "population", "scorer": "snr"},
        {**TRUNK, "inference": "deterministic", "scorer": "magnitude"},
    ],
    "branch_kinds": {"tuned_ticket": {"inference": "population", "of": "deterministic"}},
    "branches": [{"branch": "tuned_ticket", "inference": "deterministic", "levels": [1]}],
}


def test_trunks_prune_by_the_best_member_and_branches_train_tickets_so(tmp_path, monkeypatch):
    small = SmallStudy(tmp_path, **CHANGES)
    dense = small.node("lenet_100_50", "population")
    interrupted(monkeypatch, 4, lambda: small.train(dense, checkpoint_seconds=0))
    small.train(dense)
    files = small.numbers(dense)
    (tmp_path / "again").mkdir()
    again = SmallStudy(tmp_path / "again", **CHANGES)
    again.train(dense)
    assert again.numbers(dense) == files
    metrics = node_metrics.read(small.path(dense, "metrics.json"))
    assert metrics["population"][0]["heats"].keys() == {"hidden.0", "hidden.1", "classifier"}
    assert "heat_classifier" in small.path(dense, "history.csv").read_text()
    assert metrics["cost"]["side_by_side"] == 1 and metrics["cost"]["resumed_at_steps"] == [4]
    small.train(small.node("lenet_100_50", "population", level=1))
    source = small.node("lenet_100_50")
    small.train(source)
    branch = small.node("lenet_100_50", branch="tuned_ticket", level=1)
    small.train(branch)
    its = node_metrics.read(small.path(branch, "metrics.json"))
    assert its["settings"]["kind"] == "tuned" and its["population"]
    pruned = masks.load(small.path(source, "next_mask_magnitude.safetensors"))
    assert its["survivors"] == masks.survivors(pruned)
    broken = json.loads(json.dumps(its))
    broken["population"][0]["heats"]["classifier"] = -1.0
    with pytest.raises(InputError, match=r"population entry 1\.heats\.classifier"):
        node_metrics.check(broken)


def test_jobs_that_train_the_dense_population_again_select_as_its_own_does(tmp_path):
    trunk = {**CHANGES["trunks"][0], "rewind": ["imp", "end"], "search": ["iterative", "last"]}
    changes = {
        "rewinds": {"end": {"kind": "late", "share": 1.0}},
        "searches": {"last": {"kind": "early", "window": 9, "latest": 1.0}},
        "inferences": CHANGES["inferences"],
    }
    small = SmallStudy(tmp_path, trunks=[trunk], branches=[], **changes)
    dense = small.node("lenet_100_50", "population")
    small.train(dense)
    inputs = small.task(dense).inputs

    asked = study.Early(dense, "end")
    told = study.early_task(small.config, asked)
    written = Path(study.early_file(small.config, asked))
    early.write_early(
        told["node"], told["settings"], told["rewinding"], jobs.Inputs(inputs.data, inputs.initial),
        written, "cpu",
    )  # fmt: skip
    weights, trained = (
        read_tensors(path)[0] for path in (written, small.task(dense).outputs.weights)
    )
    assert all(tensor.equal(weights[name]) for name, tensor in trained.items())

    level = small.node("lenet_100_50", "population", level=1, search="last")
    told, mask = study.watching_task(small.config, level), Path(small.inputs(level)["mask"])
    watching.watch_dense(
        told["node"], told["settings"], inputs.data, inputs.initial, [mask],
        mask.with_name("distances.csv"), device="cpu",
    )  # fmt: skip
    drawn, pruned = (masks.load(p) for p in (mask, small.path(dense, "next_mask_snr.safetensors")))
    assert all(layer.equal(drawn[name]) for name, layer in pruned.items())


def refusal(tmp_path, **changes):
    with pytest.raises(InputError) as refused:
        SmallStudy(tmp_path, prepare=False, **{**CHANGES, **changes})
    return str(refused.value)


def test_what_a_population_cannot_do_is_refused_before_any_job(tmp_path):
    whole = {"digits": {**STUDY["datasets"]["digits"], "validation": 0}}
    assert refusal(tmp_path, datasets=whole) == (
        "datasets.digits.validation: 0 holds out no images, and the inference 'population' selects "
        "by them; give a larger share."
    )
    none = {"digits": {**STUDY["datasets"]["digits"], "validation": 0.003}}
    assert "validation: 0.003 holds out no images" in refusal(tmp_path, datasets=none)
    turned = {"population": {**TUNED, "lowest_heat": 2.0}}
    assert refusal(tmp_path, inferences=turned).startswith(
        "inferences.population.highest_heat: 1 must be at least lowest_heat, 2."
    )
    one = {"population": {**TUNED, "members": 1}}
    assert "inferences.population.members: 1 is not allowed" in refusal(tmp_path, inferences=one)
    moving = [{**CHANGES["trunks"][0], "search": "dynamic"}, CHANGES["trunks"][1]]
    assert "'dynamic' moves masks in training" in refusal(tmp_path, trunks=moving)


def test_populations_train_one_a_job_and_cost_as_many_networks(tmp_path):
    seeds = [{**trunk, "seeds": [0, 1]} for trunk in CHANGES["trunks"]]
    small = SmallStudy(tmp_path, prepare=False, **{**CHANGES, "trunks": seeds})
    sizes = [(pack[0].inference, len(pack)) for pack in study.packs(small.config, small.nodes, 2)]
    assert {size for name, size in sizes if name == "population"} == {1}
    assert ("deterministic", 2) in sizes
    own = study.node_settings(small.config, small.node("lenet_100_50", "population"))
    single = {**own, "population": {}, "tuned": {**own["tuned"], "members": 1}}
    images = Images(train=160, validation=40, test=50, shape=(1, 8, 8), classes=10)
    costs = [speeds.flops(each, images, 1000.0) for each in (own, single)]
    assert 2.5 < costs[0] / costs[1] < 3
    assert speeds.kind(own) != speeds.kind(single)
