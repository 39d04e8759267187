"""What claims compare: trunks, levels and seeds, by which options, and what is missing."""

import math

import numpy as np
import pandas as pd
import pytest
from synthetic_claims import (
    EQUAL,
    KINDS,
    PRUNED,
    TOLD,
    TRUNKS,
    WAYS,
    branch_is,
    cost,
    drop,
    layers,
    no_layers,
    row_of,
    search_is,
    study,
)

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import claims
from bayesian_lottery.findings.claims.verdicts import (
    CONTRADICTED,
    NOT_TESTED,
    SUPPORTED,
    UNDECIDED,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("claim", claims.CLAIMS)
def test_what_is_missing_is_said(claim):
    models = {"resnet": "resnet20", "vgg": "vgg11", "vit": "vit_tiny", "mlp": "lenet_300_100"}
    families = claims.CLAIMS[claim].families or ("vgg",)
    model = models[families[0]]
    other = [("deterministic", "magnitude", "lrr", "unusual")]
    row = row_of(claim, study(model, trunks=other, branches=()))
    assert row["verdict"] == NOT_TESTED
    assert row["reason"]
    assert pd.isna(row["estimate"]) and pd.isna(row["seeds"])


def test_families_that_the_paper_does_not_have_are_asked_what_is_said_of_convolutional_ones():
    table = claims.table(study("lenet5"), no_layers())
    judged = set(table["claim"][(table["family"] == "lenet") & (table["verdict"] != NOT_TESTED)])
    assert {"ticket_beats_reinit", "layerwise_beats_even", "transplant_matches"} <= judged
    assert not judged & {"mace_falls", "mace_flat", "square_worst_for_vit"}
    assert not judged & {"transplant_fails_for_vit"}
    vit = claims.table(study("vit_tiny"), no_layers())
    assert "reinit_beats_even" not in set(vit["claim"][vit["family"] == "vit"])


def test_reasons_name_the_trunk_the_level_or_the_family():
    trunks = [trunk for trunk in TRUNKS if trunk[1] not in ("square", "mu")]
    runs = study("vgg11", trunks=trunks)
    assert row_of("square_fails", runs)["reason"] == (
        "no Bayesian trunk with scorer square, rewind imp, curriculum paper"
    )
    shallow = runs[runs["level"] <= 2]
    assert row_of("matching_ticket", shallow)["reason"] == "no level between 5 and 20 % density"
    assert row_of("rewinding_helps_bayesian", shallow)["reason"] == "no level below 5 % density"
    assert (
        "branch reinit" in row_of("ticket_beats_reinit", shallow[shallow.branch.isna()])["reason"]
    )
    table = claims.table(runs, no_layers())
    [row] = table[table["claim"] == "square_worst_for_vit"].to_dict("records")
    assert (row["family"], row["verdict"]) == ("vit", NOT_TESTED)
    assert row["reason"] == "no model of this family in the study"


def test_ways_are_compared_by_kind_and_the_papers_claims_are_of_their_tickets_alone():
    runs = study("vgg11", trunks=WAYS, branches=(), **drop(0.05, search_is("set")))
    row = row_of("dynamic_matches_bayesian", runs, **TOLD)
    assert row["statistic"].startswith("peak accuracy, Bayesian, search set minus iterative, mean")
    assert row["statistic"].endswith("from 16.8 to 1.15 % density")  # about 10 % and sparser
    assert row_of("dynamic_matches_bayesian", runs)["reason"] == "no run with search dynamic"
    alone = row_of("moving_beats_staying_bayesian", runs, kinds=KINDS)
    assert alone["reason"] == "no control with search dynamic"
    some = runs[~(runs["search"] == "one_shot").fillna(False) | (runs["scorer"] != "snr")]
    assert row_of("one_shot_falls_behind_bayesian", some)["reason"] == (
        "no Bayesian trunk with search one_shot, scorer snr, rewind imp, pattern weights, "
        "curriculum paper"
    )
    alone = runs[(runs["search"] == "iterative").fillna(True)]
    wanted = ("estimate", "low", "high", "seeds")
    both = (row_of("matching_ticket", table) for table in (runs, alone))
    assert len({tuple(row[name] for name in wanted) for row in both}) == 1


def test_two_layers_are_too_few_for_a_rank_correlation():
    runs = study("lenet_300_100")
    row = row_of("deeper_pruned_more_bayesian", runs, layers("lenet_300_100", count=2))
    assert row["reason"] == "2 prunable layers; a rank correlation needs 4"


def test_correlations_are_spearmans():
    from scipy.stats import spearmanr

    rows = layers("vgg11", seeds=2, noise=1)
    own = rows[(rows["scorer"] == "snr") & (rows["rewind"] == "imp") & (rows["level"] > 0)]
    own = own[own["curriculum"] == "paper"]
    expected = [
        spearmanr(node["layer"], -node["density"]).statistic
        for _, node in own.groupby(["seed", "level"])
    ]
    row = row_of("deeper_pruned_more_bayesian", study("vgg11", seeds=2), rows)
    assert row["estimate"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_saving_is_of_seconds_to_the_same_ticket():
    row = row_of("transplant_saves", study("vgg11", noise=0, seeds=6, **cost(10.0)))
    # The ticket of level 20 is known after level 19.
    assert row["estimate"] == pytest.approx(1 - (20 * 10 + 60) / (21 * 60), abs=1e-6)
    assert (row["low"], row["seeds"]) == (row["high"], 6)


def test_seconds_of_different_devices_are_not_compared():
    runs = study("vgg11", **cost(10.0))
    runs.loc[(runs["inference"] == "bayesian") & (runs["seed"] == 0), "device"] = "gpu"
    assert row_of("transplant_saves", runs)["seeds"] == 4
    runs.loc[runs["inference"] == "bayesian", "device"] = "gpu"
    reason = row_of("transplant_saves", runs)["reason"]
    assert reason == "seconds of different devices cannot be compared (cpu, gpu)"


def test_lowest_matching_density_is_where_the_first_level_falls():
    runs = study("vgg11", **drop(0.05, lambda n: n.level >= 12))
    row = row_of("lowest_matching_density", runs)
    assert row["low"] == row["estimate"] == row["high"] == pytest.approx(0.8**11, abs=1e-6)
    # Later levels that match again do not count.
    runs = study("vgg11", **drop(0.05, lambda n: n.level == 3))
    row = row_of("lowest_matching_density", runs)
    assert row["estimate"] == pytest.approx(0.8**2, abs=1e-6)
    assert row["verdict"] == CONTRADICTED


def test_a_study_that_ends_above_the_limit_contradicts_only_by_a_level_that_does_not_match():
    def judged(change):
        runs = study("vgg11", **change)
        return row_of("lowest_matching_density", runs[runs["level"] <= 3])

    row = judged(EQUAL)
    assert row["verdict"] == NOT_TESTED
    assert row["reason"] == "the last level has 51.2 % density, and none is shown not to match"
    assert judged(drop(0.05, lambda n: n.level == 3))["verdict"] == CONTRADICTED


def test_nearest_level_is_the_one_of_ten_percent():
    row = row_of("matching_ticket", study("vgg11"))
    assert "at 10.7 % density" in row["statistic"]  # 0.8^10


def test_seeds_are_paired():
    # Seeds differ by far more than the tickets, and in both alike.
    easy = study("vgg11", accuracy=lambda n: 0.5 + 0.1 * n.seed)
    assert row_of("snr_equals_mu", easy)["verdict"] == SUPPORTED
    # A seed that one side lacks is left out.
    some = easy[~((easy["scorer"] == "mu") & (easy["seed"] == 4))]
    assert row_of("snr_equals_mu", some)["seeds"] == 4
    never = easy[(easy["scorer"] != "mu") | (easy["seed"] > 9)]
    assert row_of("snr_equals_mu", never)["verdict"] == NOT_TESTED


def test_levels_that_a_seed_lacks_are_left_out_for_all():
    runs = study("vgg11", **drop(0.5, lambda n: n.scorer == "mu" and n.level == 20))
    runs = runs[~((runs["level"] == 20) & (runs["seed"] == 0))]
    row = row_of("snr_equals_mu", runs)
    assert row["verdict"] == SUPPORTED
    assert row["statistic"].endswith("mean over 19 levels from 80 to 1.44 % density")


def test_replicates_count_as_one_seed():
    runs = study("vgg11", replicates=3, **drop(0.05, branch_is("reinit")))
    row = row_of("ticket_beats_reinit", runs)
    assert (row["seeds"], row["verdict"]) == (5, SUPPORTED)


def test_worst_for_vit_must_hold_against_every_convolutional_model():
    harm = {"vit_tiny": 0.1, "resnet20": 0.0, "vgg11": 0.2, "lenet5": 0.5}

    def accuracy(n):
        return 0.9 - harm[n.model] * (n.scorer == "square")

    row = row_of("square_worst_for_vit", study(*harm, accuracy=accuracy), model="vit_tiny")
    assert row["verdict"] == CONTRADICTED
    assert "minus that of vgg11" in row["statistic"]


def test_one_seed_decides_nothing():
    runs, rows = study("vgg11", seeds=1, **PRUNED), layers("vgg11", seeds=1)
    table = claims.table(runs, rows)
    tested = table[table["verdict"] != NOT_TESTED]
    assert len(tested) > 15
    assert set(tested["verdict"]) == {UNDECIDED}
    assert set(tested["seeds"]) == {1}
    assert tested["reason"].str.startswith("one seed; ").all()
    # The interval is of the passes: two independent networks of standard deviation 0.002.
    row = row_of("matching_ticket", runs)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * 0.002 * 2**0.5, rel=1e-3)
    # Seconds have no passes.
    assert math.isnan(row_of("transplant_saves", runs)["low"])


def test_curricula_by_name():
    runs = study("vgg11", **drop(0.05, lambda n: n.curriculum == "low_lr"))
    runs["curriculum"] = runs["curriculum"].replace({"low_lr": "slow", "paper": "ours"})
    row = row_of("low_lr_costs_bayesian", runs, curricula={"low_lr": "slow"})
    assert (row["curriculum"], row["verdict"]) == ("ours", SUPPORTED)
    assert row_of("low_lr_costs_bayesian", runs)["reason"].endswith("curriculum low_lr")
    row = row_of("warmup_costs_bayesian", runs, curricula={"main": "warmup"})
    assert row["reason"] == "warmup is the main curriculum"


def test_statistics_and_margins_are_options():
    runs = study("vgg11", **PRUNED)
    assert row_of("matching_ticket", runs)["verdict"] == CONTRADICTED
    assert row_of("matching_ticket", runs, margin=0.1)["verdict"] == SUPPORTED
    assert row_of("matching_ticket", runs, margin=0.1)["holds_above"] == -0.1
    reason = row_of("matching_ticket", runs, statistic="selected")["reason"]
    assert reason == "no run has a selected accuracy"
    narrow, wide = (row_of("matching_ticket", runs, confidence=c) for c in (0.5, 0.99))
    assert narrow["high"] - narrow["low"] < wide["high"] - wide["low"]


@pytest.mark.parametrize(
    "options",
    [
        {"margins": 0.01},
        {"margin": 0},
        {"margin": "1e-2"},
        {"confidence": 95},
        {"statistic": "best"},
        {"scorer": "magnitude"},
        {"curricula": {"slow": "low_lr"}},
    ],
)
def test_wrong_options_are_refused(options):
    with pytest.raises(InputError, match="claims"):
        claims.table(study("vgg11", seeds=1), no_layers(), options)
