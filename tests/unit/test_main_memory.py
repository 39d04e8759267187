"""A data set that stays in main memory trains by the same loop, with the same numbers."""

import pytest
import torch
from small_study import SmallStudy
from torch.utils._pytree import tree_leaves

from bayesian_lottery.data import decoded
from bayesian_lottery.files import read_json
from bayesian_lottery.tickets.scores import SCORERS, Scorer
from bayesian_lottery.training import batches, evaluation

Tensor = torch.Tensor


class Away(Tensor):
    """Stands for a tensor in main memory: what the network computes with is elsewhere."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        for value in tree_leaves((args, kwargs)):
            met = isinstance(value, Tensor) and not isinstance(value, Away)
            assert not (met and value.is_floating_point()), f"{function} of two devices"
        return super().__torch_function__(function, types, args, kwargs)


def away(split: decoded.Split) -> decoded.Split:
    return decoded.Split(split.images.as_subclass(Away), split.labels.as_subclass(Away))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inference", "scorer"), [("deterministic", "magnitude"), ("bayesian", "snr")]
)
def test_the_numbers_are_those_of_a_data_set_on_the_device(
    tmp_path, monkeypatch, inference, scorer
):
    by_gradient = Scorer(("gradient",), lambda gradient: gradient.abs(), "|g|")
    monkeypatch.setitem(SCORERS, scorer, by_gradient)
    load, brought = decoded.load, []

    def load_away(path, device="cpu"):
        images = load(path, device)
        return decoded.Images(
            **{**vars(images), "train": away(images.train), "test": away(images.test)}
        )

    def to_device(tensor, device):
        assert isinstance(tensor, Away)
        brought.append(len(tensor))
        return tensor.as_subclass(Tensor)

    small = SmallStudy(tmp_path)
    node = small.node("resnet8_slim", inference)

    def train() -> tuple:
        small.train(node)
        metrics = read_json(small.path(node, "metrics.json"))
        return small.numbers(node), metrics["results"], metrics["passes"]

    expected = train()
    with pytest.raises(AssertionError, match="two devices"):
        torch.ones(1) * torch.ones(1).as_subclass(Away)
    monkeypatch.setattr(decoded, "load", load_away)
    for module in (decoded, batches, evaluation):
        monkeypatch.setattr(module, "to_device", to_device)
    found = train()
    assert brought and found == expected


def test_a_data_set_is_on_a_gpu_if_it_leaves_most_of_it_free(tmp_path, monkeypatch, capsys):
    path = tmp_path / "data"
    path.write_bytes(bytes(1000))
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    for free, home in ((4000, gpu), (3999, cpu)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 5000))
        assert decoded._home(path, gpu) == home
        assert decoded._home(path, cpu) == cpu
    assert "the data set stays in main memory" in capsys.readouterr().out
