"""Small dense networks: as many weights as a ticket, or the next fewer that widths allow."""

import math

import pytest
import torch
from families import FAMILIES
from small_study import STUDY, SmallStudy

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.models import narrow
from bayesian_lottery.study import branch_checks


def weights(network) -> int:
    return sum(map(math.prod, models.prunable(network).values()))


@pytest.mark.parametrize("model", [name for name in FAMILIES if narrow.can_be(name)])
def test_no_wider_form_has_as_few_weights(model):
    shape = FAMILIES[model]
    whole = models.build(model, shape, 10, seed=0)
    wanted = weights(whole) // 3
    small = narrow.build(model, shape, 10, wanted, False, seed=1)
    assert 0 < weights(small) <= wanted
    assert small(torch.zeros(2, *shape)).shape == (2, 10)
    again = narrow.build(model, shape, 10, wanted, False, seed=1)
    assert all(
        torch.equal(a, b) for a, b in zip(small.parameters(), again.parameters(), strict=True)
    )
    assert weights(narrow.build(model, shape, 10, weights(whole), False, seed=1)) == weights(whole)


def test_widths_are_the_largest_by_one_factor():
    # 784 a + a b weights, a = floor(300 r), b = floor(100 r): 7 and 2 have 5,502, 8 and 2 6,288.
    small = narrow.build("lenet_300_100", (1, 28, 28), 10, 6000, False, seed=0)
    assert [layer.out_features for layer in small.hidden] == [7, 2]
    with pytest.raises(InputError, match="the narrowest lenet_300_100 has 785 weights"):
        narrow.build("lenet_300_100", (1, 28, 28), 10, 700, False, seed=0)


def test_a_level_too_sparse_for_any_form_is_refused_before_any_job(tmp_path):
    # Of 11,400 weights one in ten is left three times; a classifier of its own keeps 63 of 500.
    rankings = {"own": {"kind": "global", "shares": {"classifier": 0.5}}}
    trunk = {**STUDY["trunks"][0], "model": "lenet_100_50", "ranking": ["global", "own"]}
    small = SmallStudy(
        tmp_path,
        prepare=False,
        prune_fraction=0.9,
        trunks=[{**trunk, "levels": 3}],
        rankings=rankings,
        branch_kinds={"small": {"network": "narrow"}},
        branches=[{"branch": "small", "levels": [0, 1, 2, 3]}],
    )
    fitting = [node for node in small.nodes if node.level < 3 or node.ranking == "own"]
    branch_checks.check_sizes(small.config, fitting)
    sentence = (
        r"^branches: .*/level03/small_0: the narrowest lenet_100_50 has 65 weights, and the ticket "
        r"12; branch from a denser level\.$"
    )
    with pytest.raises(InputError, match=sentence):
        branch_checks.check_sizes(small.config, small.nodes)
