"""Exported networks: files that predict as the torch model does, whose bytes are what is said."""

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from pruned_networks import SHAPES, channels, dense, folder_of, none, sparse
from safetensors.numpy import load_file
from small_study import STUDY, SmallStudy
from torch.sparse import to_sparse_semi_structured

from bayesian_lottery.data import sources as data_sources
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import export, sources, speed
from bayesian_lottery.exports.formats import two_of_four
from bayesian_lottery.files import read_tensors, write_tensors
from bayesian_lottery.models.layers import unfold_samples
from bayesian_lottery.randomness import generator
from bayesian_lottery.study.formats import FORMATS, MEAN, SAMPLES
from bayesian_lottery.training import jobs

SAMPLED = 3
TRAINING = {
    "datasets": {"digits": {"source": "digits", "validation": 0.1}},
    "curricula": {**STUDY["curricula"], "adam": {"epochs": 8, "learning_rate": 0.003}},
}
ROOT = Path(__file__).parents[2]


def half(model):
    """Half of the weights, a third of the first layer's rows and none of its second layer's."""
    mask = channels(model)
    second = [*mask][1]
    return {**mask, second: torch.zeros_like(mask[second])}


MASKS = {"dense": dense, "half, a layer empty": half, "2 %": sparse, "empty": none}
CASES = [("deterministic", None), ("bayesian", MEAN), ("bayesian", SAMPLES)]
here = pytest.mark.parametrize(("inference", "predicts"), CASES)


def written(tmp_path, model, inference, predicts, mask, format, batches=()):
    """A node's export: its path, the metadata, and what it was made from."""
    folder, _ = folder_of(tmp_path, model, inference, mask)
    path = tmp_path / f"network.{FORMATS[format].suffix}"
    source = sources.read(folder, tmp_path / "data", predicts, SAMPLED, multiple=1)
    return path, export.write(source, format, path, batches, seconds=0), source


def logits_of(source, images):
    """Logits (S, B, K) by the plain model, one draw after the other."""
    model = source.template()
    found = []
    for state in source.draws:
        model.load_state_dict(state)
        with torch.inference_mode():
            found.append(model(images))
    return torch.stack(found)


def images_for(model, count=5):
    return torch.randn(count, *SHAPES[model], generator=generator("images"))


# Predictions


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


def test_a_file_that_predicts_otherwise_is_not_written(tmp_path, monkeypatch):
    code = FORMATS["csr"].code()
    right = code._multiply
    monkeypatch.setattr(code, "_multiply", lambda *given: right(*given) + 1e-2)
    with pytest.raises(InputError, match=r"CSR: its logits differ .* nothing was written"):
        written(tmp_path, "lenet_100_50", "deterministic", None, sparse("lenet_100_50"), "csr")
    assert not (tmp_path / "network.safetensors").exists()


# Sizes


def test_bytes_are_those_of_values_and_indices_counted_anew(tmp_path):
    mask = sparse("lenet_100_50", 0.9)
    kept = sum(int(layer.sum()) for layer in mask.values())
    assert kept == 1140  # of 11,400
    others = 4 * (100 + 50 + 10 + 500)  # biases, and the classifier, which stays dense
    expected = {
        "dense": 4 * (64 * 100 + 100 * 50) + others,
        # A value of four bytes and a column of two each, and of each row an end of four.
        "csr": 6 * kept + 4 * (100 + 50) + others,
    }
    for format, count in expected.items():
        path, told, _ = written(tmp_path, "lenet_100_50", "deterministic", None, mask, format)
        arrays = load_file(path).values()
        assert told["weights_bytes"] == count == sum(array.nbytes for array in arrays)
        assert count < path.stat().st_size < count + 4000
        assert told["dense_bytes"] == expected["dense"]


def test_a_packed_file_is_read_by_hand(tmp_path):
    mask = sparse("lenet_100_50", 0.9)
    path, told, source = written(tmp_path, "lenet_100_50", "deterministic", None, mask, "packed")
    arrays = load_file(path)
    assert told["weights_bytes"] == sum(array.nbytes for array in arrays.values())
    name = "hidden.0.weight"
    bits = np.unpackbits(np.frombuffer(zlib.decompress(arrays[f"{name}.kept"].tobytes()), np.uint8))
    assert (bits.reshape(100, 64) == mask[name].numpy()).all()
    values = np.frombuffer(zlib.decompress(arrays[f"{name}.values"].tobytes()), np.int8)
    rows = mask[name].nonzero()[:, 0].numpy()
    exact = source.draws[0][name][mask[name]].numpy()
    scales = arrays[f"{name}.scales"][rows]
    assert (np.abs(values * scales - exact) <= scales / 2 + 1e-6).all()
    # A bit for each of 11,900 weights and a byte for each survivor would take 3,127.
    parts = [a.nbytes for key, a in arrays.items() if key.endswith((".kept", ".values"))]
    assert sum(parts) < 11_900 / 8 + 1140 + 500


# Files


ALONE = """
import sys, json, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
told = json.loads(session.get_modelmeta().custom_metadata_map["json"])["content"]
images = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], session.run(["logits"], {"images": images})[0])
assert len(told["classes"]) == 10 and told["node"]["level"] == 3
assert not {"torch", "bayesian_lottery"} & set(sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize("format", [name for name, each in FORMATS.items() if each.alone])
def test_graphs_are_used_without_this_package_and_torch(tmp_path, format):
    model, mask = "resnet8_slim", channels("resnet8_slim")
    path, _, source = written(tmp_path, model, "bayesian", SAMPLES, mask, format)
    images, output = tmp_path / "images.npy", tmp_path / "logits.npy"
    np.save(images, images_for(model).numpy())
    arguments = [sys.executable, "-I", "-c", ALONE, path, images, output]
    subprocess.run(arguments, check=True, cwd=tmp_path)
    found = unfold_samples(torch.from_numpy(np.load(output)), 10)
    error = 1e-4 if format == "onnx" else 0.3
    torch.testing.assert_close(found, logits_of(source, images_for(model)), rtol=0, atol=error)


def test_truncated_and_changed_files_end_in_a_sentence(tmp_path):
    for format in ("csr", "onnx"):
        mask = sparse("lenet_100_50")
        path, _, _ = written(tmp_path, "lenet_100_50", "deterministic", None, mask, format)
        code, whole = FORMATS[format].code(), path.read_bytes()
        for end in (0, 9, len(whole) // 2, len(whole) - 3):
            path.write_bytes(whole[:end])
            with pytest.raises(InputError, match=r"network\.\w+: (truncated|damaged)"):
                code.load(path)
        place = len(whole) // 2
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"network\.\w+: (truncated|damaged)"):
            code.load(path)
        path.unlink()
        with pytest.raises(InputError, match="no such file"):
            code.load(path)


@pytest.mark.parametrize("change", ["columns", "ends", "values"])
def test_indices_outside_of_a_layer_are_refused(tmp_path, change):
    mask = sparse("lenet_100_50")
    path, told, _ = written(tmp_path, "lenet_100_50", "deterministic", None, mask, "csr")
    state, _ = read_tensors(path)
    name = f"hidden.0.weight.{change}"
    state[name] = state[name][..., :-1] if change == "values" else state[name] + 64
    write_tensors(path, state, told)
    with pytest.raises(InputError, match=r"hidden\.0\.weight is no sparse matrix"):
        FORMATS["csr"].code().load(path)


def test_a_graph_of_others_is_none_of_ours(tmp_path):
    path = tmp_path / "other.onnx"
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["images"], ["images2"])
    graph = onnx.helper.make_graph([node], "other", [value], [])
    onnx.save_model(onnx.helper.make_model(graph), path)
    with pytest.raises(InputError, match="truncated or no exported ONNX graph"):
        FORMATS["onnx"].code().load(path)


# 2:4


def two_of_four_mask(model):
    mask = dense(model)
    stream = generator("2:4")
    for name, layer in mask.items():
        if layer.dim() == 2 and layer.shape[1] % 4 == 0:
            groups = torch.rand(layer.unflatten(1, (-1, 4)).shape, generator=stream)
            mask[name] = (groups.argsort(-1) < 2).flatten(1)
    return mask


def source_of(tmp_path, model, mask):
    folder, _ = folder_of(tmp_path, model, "deterministic", mask)
    return sources.read(folder, tmp_path / "data")


def test_2_of_4_needs_the_pattern_and_a_gpu_that_has_it(tmp_path, monkeypatch):
    code = FORMATS["2of4"].code()
    narrow = source_of(tmp_path, "lenet_100_50", two_of_four_mask("lenet_100_50"))
    assert code.suited(narrow) == []  # 100 and 50 are no multiples of 32
    with pytest.raises(InputError, match="prune with the pattern 2of4"):
        code.check(source_of(tmp_path, "vit_nano", dense("vit_nano")))
    fits = source_of(tmp_path, "vit_nano", two_of_four_mask("vit_nano"))
    assert code.suited(fits) == [f"blocks.{i}.fc2.weight" for i in (0, 1)]
    with pytest.raises(InputError, match=r"capability 8\.0 or more, and this machine has none\.$"):
        code.check(fits)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    with pytest.raises(InputError, match=r"and it has 7\.5\.$"):
        code.check(fits)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    code.check(fits)


def test_2_of_4_tensors_are_pytorchs_own(tmp_path):
    source = source_of(tmp_path, "vit_nano", two_of_four_mask("vit_nano"))
    content = two_of_four.make(source)
    for name in content.told["layers"]:
        (matrix,) = two_of_four.matrices(content.data, name, 1)
        assert torch.equal(matrix, source.draws[0][name].half())
        assert content.data[f"{name}.values0"].shape == (32, 64)
        assert content.data[f"{name}.places0"].nbytes * 8 == 2 * 32 * 64  # two bits a survivor
    assert callable(to_sparse_semi_structured)


def test_what_is_two_of_four():
    kept = torch.tensor([[1, 1, 0, 0, 0, 1, 0, 1], [0, 0, 1, 1, 1, 0, 0, 0]]).bool()
    assert two_of_four.is_two_of_four(kept)
    assert not two_of_four.is_two_of_four(kept.roll(1, 1))
    assert not two_of_four.is_two_of_four(kept[:, :6])


# Speed


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


def test_a_slower_export_says_so_in_its_file(tmp_path, monkeypatch):
    slow = {"batch": 1, "times_as_fast": 0.5, "seconds": 2.0, "dense_seconds": 1.0}
    monkeypatch.setattr(speed, "compare", lambda *_: slow)
    mask = sparse("lenet_100_50")
    path, _, _ = written(tmp_path, "lenet_100_50", "deterministic", None, mask, "csr", batches=[1])
    told = FORMATS["csr"].code().load(path).metadata
    assert told["slower"] == "slower than the dense network at batches of 1 (0.50 times as fast)"
    assert told["speed"] == [slow]
