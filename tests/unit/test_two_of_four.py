"""Networks exported with two of four weights: what they need, and torch's own tensors of them."""

import pytest
import torch
from pruned_networks import dense, folder_of
from torch.sparse import to_sparse_semi_structured

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import sources
from bayesian_lottery.exports.formats import two_of_four
from bayesian_lottery.randomness import generator
from bayesian_lottery.study.formats import FORMATS


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
