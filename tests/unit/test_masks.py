"""Masks: exact counts, ties, files."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bayesian_lottery.errors import InputError
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks

shapes = st.dictionaries(
    st.sampled_from(["a.weight", "b.weight", "c.weight"]),
    st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple),
    min_size=1,
)


def random_mask(shapes, density, seed):
    stream = generator("mask", seed)
    return {n: torch.rand(s, generator=stream) < density for n, s in shapes.items()}


def random_scores(mask, seed):
    stream = generator("scores", seed)
    return {n: torch.randn(m.shape, generator=stream) for n, m in mask.items()}


@given(shapes, st.floats(0, 1), st.integers(0, 95), st.integers(0, 10))
def test_prune_removes_exactly_the_floor_and_only_the_lowest(shapes, density, percent, seed):
    before = random_mask(shapes, density, seed)
    scores = random_scores(before, seed)
    after = masks.prune(before, scores, percent / 100)
    kept = masks.survivors(before)
    assert masks.survivors(after) == kept - percent * kept // 100
    gone = torch.cat([(before[n] & ~after[n]).flatten() for n in before])
    left = torch.cat([after[n].flatten() for n in before])
    assert not any((after[n] & ~before[n]).any() for n in before)
    flat = torch.cat([scores[n].flatten() for n in before])
    if gone.any() and left.any():
        assert flat[gone].max() <= flat[left].min()


def test_ties_go_by_position_in_network_order():
    mask = masks.ones({"a": torch.Size([3]), "b": torch.Size([2])})
    pruned = masks.prune(mask, {"a": torch.zeros(3), "b": torch.zeros(2)}, 0.4)
    assert pruned["a"].tolist() == [False, False, True] and pruned["b"].all()


def test_a_fifth_of_five_is_one():
    mask = masks.ones({"a": torch.Size([5])})
    assert masks.survivors(masks.prune(mask, {"a": torch.arange(5.0)}, 0.2)) == 4


def test_already_pruned_weights_do_not_count():
    mask = {"a": torch.tensor([False, True, True, True, True, True])}
    scores = {"a": torch.tensor([torch.nan, 5.0, 4.0, 3.0, 2.0, 1.0])}
    assert masks.prune(mask, scores, 0.2)["a"].tolist() == [False, True, True, True, True, False]


def test_nan_scores_are_refused():
    with pytest.raises(InputError, match="NaN"):
        masks.prune({"a": torch.tensor([True])}, {"a": torch.tensor([torch.nan])}, 0.5)


def test_twenty_levels_of_a_fifth():
    mask = masks.ones({"a": torch.Size([1000, 271])})
    scores = random_scores(mask, 0)
    expected = 271_000
    for _ in range(20):
        mask = masks.prune(mask, scores, 0.2)
        expected -= expected // 5
        assert masks.survivors(mask) == expected
    assert expected / 271_000 == pytest.approx(0.0115, abs=1e-4)


@given(shapes, st.floats(0, 1), st.integers(0, 5))
def test_files_give_back_the_mask_and_equal_masks_equal_bytes(tmp_path_factory, shapes, d, seed):
    folder = tmp_path_factory.mktemp("masks")
    mask = random_mask(shapes, d, seed)
    masks.save(folder / "one", mask)
    masks.save(folder / "two", {n: m.clone() for n, m in mask.items()})
    loaded = masks.load(folder / "one")
    assert list(loaded) == list(mask)
    assert all(torch.equal(loaded[n], mask[n]) for n in mask)
    assert (folder / "one").read_bytes() == (folder / "two").read_bytes()


def test_one_bit_a_weight(tmp_path):
    masks.save(tmp_path / "m", masks.ones({"a": torch.Size([1000, 1000])}))
    assert (tmp_path / "m").stat().st_size < 126_000


def test_truncated_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "m"
    with pytest.raises(InputError, match="no such file"):
        masks.load(path)
    masks.save(path, masks.ones({"a": torch.Size([100])}))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="truncated"):
        masks.load(path)


def test_shapes_are_checked_with_both_named():
    mask = masks.ones({"a": torch.Size([2, 3])})
    with pytest.raises(InputError, match=r"\(2, 3\).*\(3, 2\)"):
        masks.check(mask, {"a": torch.Size([3, 2])})
    with pytest.raises(InputError, match="absent"):
        masks.check(mask, {})
