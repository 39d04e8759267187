"""Exported networks predict as the torch model does, and their times are taken by turns."""

from pathlib import Path

import pytest
import torch
from pruned_networks import channels, dense, none, sparse
from small_study import STUDY, SmallStudy
from written_exports import SAMPLED, images_for, logits_of, written

from bayesian_lottery.data import sources as data_sources
from bayesian_lottery.exports import export, speed
from bayesian_lottery.study.formats import FORMATS, MEAN, SAMPLES
from bayesian_lottery.training import jobs

TRAINING = {
    "datasets": {"digits": {"source": "digits", "validation": 0.1}},
    "curricula": {**STUDY["curricula"], "adam": {"epochs": 8, "learning_rate": 0.003}},
}


def half(model):
    """Half of the weights, a third of the first layer's rows and none of its second layer's."""
    mask = channels(model)
    second = [*mask][1]
    return {**mask, second: torch.zeros_like(mask[second])}


MASKS = {"dense": dense, "half, a layer empty": half, "2 %": sparse, "empty": none}
CASES = [("deterministic", None), ("bayesian", MEAN), ("bayesian", SAMPLES)]
here = pytest.mark.parametrize(("inference", "predicts"), CASES)


@pytest.mark.parametrize("masked", MASKS)
@here
@pytest.mark.parametrize("format", ["dense", "compact", "csr"])
@pytest.mark.parametrize("model", ["lenet_100_50", "resnet8_slim"])
def test_logits_are_those_of_the_torch_model(tmp_path, model, format, inference, predicts, masked):
    mask = MASKS[masked](model)
    path, told, source = written(tmp_path, model, inference, predicts, mask, format)
    exported = FORMATS[format].code().load(path, source)
    images = images_for(model)
    with torch.inference_mode():
        found = exported.logits(images)
    assert len(found) == (SAMPLED if predicts == SAMPLES else 1)
    torch.testing.assert_close(found, logits_of(source, images), rtol=1e-4, atol=1e-5)
    assert told["predictions"]["largest_difference"] <= 1e-4 * told["predictions"]["scale"]


@pytest.mark.slow
@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("model", ["lenet_100_50", "resnet8_slim", "vit_nano"])
def test_graphs_give_the_logits_of_the_torch_model(tmp_path, model, masked):
    mask = MASKS[masked](model)
    path, _, source = written(tmp_path, model, "bayesian", SAMPLES, mask, "onnx")
    found = FORMATS["onnx"].code().load(path).logits(images_for(model, 7))
    torch.testing.assert_close(found, logits_of(source, images_for(model, 7)), rtol=1e-4, atol=1e-5)


@here
def test_packed_survivors_are_the_nearest_of_255_levels(tmp_path, inference, predicts):
    mask = channels("resnet8_slim")
    path, told, source = written(tmp_path, "resnet8_slim", inference, predicts, mask, "packed")
    exported = FORMATS["packed"].code().load(path)
    template = source.template()
    rounded = []
    for state in source.draws:
        state = dict(state)
        for name in mask | {"classifier.weight": None}:
            rows = state[name].double().flatten(1)
            step = rows.abs().amax(1, keepdim=True) / 127
            state[name] = ((rows / step).round() * step).nan_to_num().view_as(state[name]).float()
        template.load_state_dict(state)
        with torch.inference_mode():
            rounded.append(template(images_for("resnet8_slim")))
    with torch.inference_mode():
        found = exported.logits(images_for("resnet8_slim"))
    torch.testing.assert_close(found, torch.stack(rounded), rtol=1e-4, atol=1e-5)
    assert told["predictions"]["largest_difference"] > 1e-4  # than the float network's


@pytest.mark.slow
def test_int8_keeps_the_accuracy_of_a_network_trained_on_digits(tmp_path):
    """Within 0.02 of the float network's, on the 359 test images."""
    small = SmallStudy(tmp_path, prepare=False, weights="all", **TRAINING)
    node = small.node("lenet_100_50", curriculum="adam")
    data_sources.prepare("digits", {"source": "digits"}, small.data)
    jobs.initialise(small.data, "lenet_100_50", 0, Path(small.inputs(node)["initial"]))
    small.train(node)
    path = tmp_path / "network.onnx"
    told = export.export(tmp_path / node.folder, small.data, path, format="int8")
    same = told["predictions"]
    assert same["images"] == 359 and same["dense_accuracy"] > 0.9
    assert abs(same["accuracy"] - same["dense_accuracy"]) <= 0.02
    assert same["largest_difference"] > 0
    assert told["calibrated_on"] == 256


def test_times_are_taken_by_turns_and_told(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(speed.time, "process_time", lambda: clock.__next__() * 1.0)
    calls = []

    def one(images):
        calls.append("dense")
        next(clock)

    def other(images):
        calls.append("exported")
        next(clock), next(clock), next(clock)

    images = torch.arange(6.0).view(3, 2)
    row = speed.compare(one, other, images, 4, 0)
    assert (row["dense_seconds"], row["seconds"], row["times_as_fast"]) == (2, 4, 0.5)
    assert (row["dense_throughput"], row["throughput"]) == (2, 1)
    assert calls[4:8] == ["exported", "dense", "dense", "exported"]
    assert speed.slower([row, {**row, "batch": 1, "times_as_fast": 0.97}]) == (
        "slower than the dense network at batches of 4 (0.50 times as fast)"
    )
    assert speed.slower([{**row, "times_as_fast": 3.0}]) == ""
