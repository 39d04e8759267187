"""Files of exported networks: their bytes, who reads them, what they say, and what is refused."""

import subprocess
import sys
import zlib

import numpy as np
import onnx
import pytest
import torch
from pruned_networks import channels, sparse
from safetensors.numpy import load_file
from written_exports import images_for, logits_of, written

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import speed
from bayesian_lottery.files import read_tensors, write_tensors
from bayesian_lottery.models.layers import unfold_samples
from bayesian_lottery.study.formats import FORMATS, SAMPLES

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


def test_a_file_that_predicts_otherwise_is_not_written(tmp_path, monkeypatch):
    code = FORMATS["csr"].code()
    right = code._multiply
    monkeypatch.setattr(code, "_multiply", lambda *given: right(*given) + 1e-2)
    with pytest.raises(InputError, match=r"CSR: its logits differ .* nothing was written"):
        written(tmp_path, "lenet_100_50", "deterministic", None, sparse("lenet_100_50"), "csr")
    assert not (tmp_path / "network.safetensors").exists()


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


def test_a_slower_export_says_so_in_its_file(tmp_path, monkeypatch):
    slow = {"batch": 1, "times_as_fast": 0.5, "seconds": 2.0, "dense_seconds": 1.0}
    monkeypatch.setattr(speed, "compare", lambda *_: slow)
    mask = sparse("lenet_100_50")
    path, _, _ = written(tmp_path, "lenet_100_50", "deterministic", None, mask, "csr", batches=[1])
    told = FORMATS["csr"].code().load(path).metadata
    assert told["slower"] == "slower than the dense network at batches of 1 (0.50 times as fast)"
    assert told["speed"] == [slow]
