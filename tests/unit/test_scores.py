"""Scorers, by hand."""

import math

import pytest
import torch

from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.tickets.scores import SCORERS, scorers_for


def test_by_hand():
    mu, sigma = torch.tensor([-3.0, 0.5]), torch.tensor([4.0, 0.25])
    assert SCORERS["magnitude"].score(mu).tolist() == [3, 0.5]
    assert SCORERS["mu"].score(mu).tolist() == [3, 0.5]
    assert SCORERS["snr"].score(mu, sigma).tolist() == [0.75, 2]
    still = torch.tensor([0.0, 0.25])  # the first weight has never moved: nothing of it is signal
    assert SCORERS["snr"].score(mu, still).tolist() == [0, 2]
    square = SCORERS["square"].score(mu, sigma).tolist()
    assert square == pytest.approx([5, math.hypot(0.5, 0.25)])


def test_each_inference_has_its_own():
    both = ["random", "snip", "grasp", "synflow"]
    both += [f"inverted_{name}" for name in both[1:]]
    assert scorers_for(KINDS["deterministic"].offers) == ["magnitude", *both]
    assert scorers_for(KINDS["bayesian"].offers) == ["snr", "square", "mu", *both]
