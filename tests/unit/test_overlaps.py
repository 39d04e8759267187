"""What masks have in common: which are compared, and Jaccard's index beyond chance."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from bayesian_lottery import study
from bayesian_lottery.findings.overlaps import overlap
from bayesian_lottery.study import Node


def test_the_index_is_scikit_learns_and_chance_is_that_of_random_masks():
    draw = np.random.default_rng(0)
    mask, other = (draw.random((200, 300)) < share for share in (0.1, 0.3))
    found = overlap(mask, other)
    assert found["jaccard"] == pytest.approx(jaccard_score(mask.ravel(), other.ravel()))
    assert found["chance"] == pytest.approx(found["jaccard"], abs=0.005)
    assert abs(found["beyond"]) < 0.01
    assert overlap(mask, mask)["beyond"] == 1
    assert overlap(mask, ~mask)["beyond"] < 0
    whole, nothing = np.ones(9, bool), np.zeros(9, bool)
    assert np.isnan(overlap(whole, whole)["beyond"]) and np.isnan(
        overlap(nothing, nothing)["beyond"]
    )


def test_masks_are_compared_with_those_of_the_papers_way_where_one_thing_differs():
    shared = {"dataset": "d", "model": "m", "curriculum": "c", "rewind": "imp", "level": 1}
    plain = {**shared, "inference": "deterministic", "scorer": "magnitude"}
    one, two = (Node(**plain, seed=seed) for seed in (0, 1))
    bayesian = Node(**shared, inference="bayesian", scorer="snr", seed=0)
    mu = Node(**shared, inference="bayesian", scorer="mu", seed=0)
    shot = Node(**plain, seed=1, search="one_shot")
    branch = Node(**plain, seed=0, branch="reinit", replicate=0)
    found = study.pairs({}, [one, two, bayesian, mu, shot, branch])
    assert set(found) == {
        (one, two, "seed"),
        (one, bayesian, "inference"),
        (bayesian, one, "inference"),
        (mu, bayesian, "way"),
        (shot, two, "way"),
    }
