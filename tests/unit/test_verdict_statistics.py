"""p-values that agree with the intervals, corrected verdicts, seeds that decide."""

import math

import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from bayesian_lottery.findings import claims, results
from bayesian_lottery.findings.claims.page import page
from bayesian_lottery.findings.claims.verdicts import (
    CONTRADICTED,
    NOT_TESTED,
    SUPPORTED,
    UNDECIDED,
    Interval,
    Region,
    beats,
    correct,
    equals,
    falls_behind,
    interval,
    judge,
    matches,
    more_seeds,
    p_value,
)

regions = st.sampled_from([beats(0.01), falls_behind(0.01), matches(0.01), equals(0.01)])
seeds = st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=6)


@given(seeds, regions, st.sampled_from([0.5, 0.9, 0.95]))
def test_the_p_value_decides_as_the_interval_does(values, region, confidence):
    found = interval(values, confidence)
    p = p_value(found, region)
    if not math.isclose(p, 1 - confidence, rel_tol=1e-6):
        assert (p <= 1 - confidence) == (judge(found, region)[0] != UNDECIDED)


def spread(mean: float, deviation: float, count: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=count)
    return mean + deviation * (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize("mean, deviation", [(0.004, 0.02), (0.0095, 0.01), (-0.03, 0.08)])
@pytest.mark.parametrize("region", [equals(0.01), beats(0.01), matches(0.01)])
def test_as_many_more_seeds_decide_and_one_fewer_does_not(mean, deviation, region):
    found = interval(spread(mean, deviation, 3), 0.95)
    assert judge(found, region)[0] == UNDECIDED
    more = more_seeds(found, region, 0.95)
    decided = [
        judge(interval(spread(mean, deviation, 3 + count), 0.95), region)[0] != UNDECIDED
        for count in (more - 1, more)
    ]
    assert decided == [False, True]


def test_seeds_that_agree_need_what_the_sign_test_does():
    found = interval([0.0] * 4, 0.95)
    assert more_seeds(found, equals(0.01), 0.95) == 2
    assert p_value(found, equals(0.01)) == 1 / 8


def test_unknown_spread_and_an_estimate_on_the_bound_say_nothing():
    assert more_seeds(interval([0.1], 0.95, 0.01), beats(0.01), 0.95) is None
    assert math.isnan(p_value(interval([0.1], 0.95, 0.01), beats(0.01)))
    assert more_seeds(interval([-0.1, 0.1], 0.95), Region(above=0), 0.95) is None


def test_correction_takes_back_what_a_number_of_claims_explains():
    alone, q = correct([SUPPORTED, NOT_TESTED], [0.04, math.nan], 0.05)
    assert alone == [SUPPORTED, NOT_TESTED]
    assert q[0] == 0.04 and math.isnan(q[1])
    among, q = correct(
        [SUPPORTED, CONTRADICTED, *[UNDECIDED] * 18], [0.04, 1e-4, *[0.5] * 18], 0.05
    )
    assert among == [UNDECIDED, CONTRADICTED, *[UNDECIDED] * 18]
    assert q[:2] == pytest.approx([20 * 0.04 / 2, 20 * 1e-4])
    assert correct([NOT_TESTED], [math.nan], 0.05)[0] == [NOT_TESTED]


@pytest.mark.slow
def test_the_table_corrects_and_prices(tmp_path):
    nodes = list(synthetic.study(seeds=(0, 1, 2), levels=12))
    for node in nodes:
        node["cost"]["seconds"] = 36.0 * (1 + node["node"]["seed"])
    runs, layers, _ = results.tables(synthetic.write(tmp_path, nodes))
    table = claims.table(runs, layers, {"margin": 0.002})
    decided = table["verdict"].isin([SUPPORTED, CONTRADICTED])
    assert decided.any() and table.loc[decided, "more_seeds"].isna().all()
    assert ((table["p"] <= 0.05) == decided).all()
    assert (table["q"] >= table["p"]).sum() == table["p"].notna().sum()
    assert (table["verdict_corrected"] == table["verdict"])[table["q"] <= 0.05].all()
    assert set(table["verdict_corrected"][decided & (table["q"] > 0.05)]) <= {UNDECIDED}
    priced = table.dropna(subset="more_seeds")
    nodes_of_a_seed = len(nodes) / 3
    assert len(priced) and priced["more_hours"].tolist() == [
        pytest.approx(count * nodes_of_a_seed * 0.02, rel=0.01) for count in priced["more_seeds"]
    ]
    html = page(table)
    assert f"{priced['more_seeds'].iloc[0]:,} (" in html and "q = " in html

    alone = claims.table(*(t[t["seed"] == 0] for t in (runs, layers)))
    for name in ("p", "q", "more_seeds", "more_hours"):
        assert alone[name].isna().all(), name
    assert (alone["verdict_corrected"] == alone["verdict"]).all()


def test_seeds_without_spread():
    # Two accuracies agree easily: they are counts of images. Six in a row do not.
    assert interval([0.0] * 2, 0.95).caveat
    assert interval([0.0] * 5, 0.95).caveat
    assert not interval([0.0] * 6, 0.95).caveat
    assert judge(interval([0.0] * 6, 0.95), equals(0.01)) == (SUPPORTED, "")


def test_two_seeds_carry_a_note():
    assert judge(interval([0.1, 0.1001], 0.95), beats(0.01))[1].startswith("2 seeds")


def test_passes_that_agree_exactly_know_no_error():
    found = interval([0.5], 0.95, 0.0)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert judge(found, beats(0.01))[0] == UNDECIDED


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_cover(seeds):
    draws = np.random.default_rng(seeds).normal(0.3, 0.02, (2000, seeds))
    found = [interval(values, 0.95) for values in draws]
    coverage = np.mean([one.low <= 0.3 <= one.high for one in found])
    assert 0.93 <= coverage <= 0.97


@pytest.mark.parametrize(
    "region, truth",
    [(beats, 0.01), (falls_behind, -0.01), (matches, -0.01), (equals, -0.01), (equals, 0.01)],
)
def test_verdicts_err_as_rarely_as_they_say(region, truth):
    """On the very bound of the region, each decided verdict has half of what confidence leaves."""
    draws = np.random.default_rng(0).normal(truth, 0.005, (2000, 3))
    verdicts = [judge(interval(values, 0.95), region(0.01))[0] for values in draws]
    for verdict in (SUPPORTED, CONTRADICTED):
        assert verdicts.count(verdict) / len(verdicts) <= 0.037  # 0.025 and 3.5 deviations


@pytest.mark.parametrize(
    "low, high, verdict",
    [
        (-0.005, 0.005, SUPPORTED),
        (-0.02, 0.005, UNDECIDED),
        (-0.02, 0.02, UNDECIDED),
        (0.01, 0.02, CONTRADICTED),
        (-0.03, -0.02, CONTRADICTED),
    ],
)
def test_verdict_follows_from_interval_and_region(low, high, verdict):
    assert judge(Interval((low + high) / 2, low, high, 5), Region(-0.01, 0.01))[0] == verdict


def test_undecided_says_which_bound():
    _, reason = judge(Interval(0, -0.02, 0.005, 5), Region(-0.01, 0.01))
    assert reason == "the interval holds -0.01"
