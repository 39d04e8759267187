"""The paper's claims: intervals that cover, and for each claim every verdict by construction."""

import functools
import json
import math
import random
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import synthetic

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import claims, results
from bayesian_lottery.findings.claims import exports, montecarlo
from bayesian_lottery.findings.claims.verdicts import (
    CONTRADICTED,
    NOT_TESTED,
    SUPPORTED,
    UNDECIDED,
    VERDICTS,
    Interval,
    Region,
    beats,
    equals,
    falls_behind,
    interval,
    judge,
    matches,
)
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.study import LATER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TRUNKS = (
    ("deterministic", "magnitude", "imp", "paper"),
    ("deterministic", "magnitude", "lrr", "paper"),
    ("deterministic", "magnitude", "imp", "low_lr"),
    ("deterministic", "magnitude", "imp", "warmup"),
    ("bayesian", "snr", "imp", "paper"),
    ("bayesian", "mu", "imp", "paper"),
    ("bayesian", "square", "imp", "paper"),
    ("bayesian", "snr", "lrr", "paper"),
    ("bayesian", "snr", "imp", "low_lr"),
    ("bayesian", "snr", "imp", "warmup"),
)
SHUFFLES = ("shuffle_global", "shuffle_even", "shuffle_layerwise")
BRANCHES = (
    *(("bayesian", "snr", name) for name in ("reinit", *SHUFFLES)),
    ("deterministic", "magnitude", "transplant_initial"),
)
WAYS = tuple(
    (inference, scorer or main, rewind, "paper", search, *pattern)
    for inference, main in (("deterministic", "magnitude"), ("bayesian", "snr"))
    for search, scorer, rewind, *pattern in (
        ("iterative", None, "imp"),
        ("iterative", None, "late_500"),
        ("one_shot", None, "imp"),
        ("at_init", "snip", "imp"),
        ("at_init", "grasp", "imp"),
        ("at_init", "synflow", "imp"),
        ("at_init", "random", "imp"),
        ("set", None, "imp"),
        ("rigl", None, "imp"),
        ("still", None, "imp"),
        ("early", None, "imp"),
        ("iterative", None, "imp", "units"),
    )
)
ROLES = {
    "moved": "transfer",
    "moved_mask": "transferred_mask",
    "of_seed_9": "another_seed",
    "soft": "distilled",
    "learned": "learned",
    "small": "small_dense",
}
WAY_BRANCHES = tuple(
    (inference, scorer or main, branch, search)
    for inference, main in (("deterministic", "magnitude"), ("bayesian", "snr"))
    for scorer, branch, search in (
        *((None, name, "iterative") for name in ROLES),
        *((scorer, "shuffle_layerwise", "at_init") for scorer in ("snip", "grasp", "synflow")),
    )
)
KINDS = {
    "search": {"set": "dynamic", "rigl": "dynamic", "still": "dynamic"},
    "rewind": {"late_500": "late"},
    "branch": ROLES,
}
TOLD = {"kinds": KINDS, "controls": ["still"]}
LEVELS = 20


def nodes(model, seeds=5, trunks=TRUNKS, branches=BRANCHES, replicates=1):
    """The coordinates of every node of one model's study."""
    dense = {(inference, curriculum) for inference, _, _, curriculum, *_ in trunks}
    for seed in range(seeds):
        shared = {"dataset": "digits", "model": model, "seed": seed}
        trunk = {**shared, "branch": None, "replicate": None}
        for inference, curriculum in sorted(dense):
            yield {**trunk, "inference": inference, "curriculum": curriculum,
                   "scorer": None, "rewind": None, "level": 0}  # fmt: skip
        for inference, scorer, rewind, curriculum, *search in trunks:
            for level in range(1, LEVELS + 1):
                yield {**trunk, "inference": inference, "curriculum": curriculum,
                       "scorer": scorer, "rewind": rewind, "level": level,
                       **dict(zip(["search", "pattern"], search, strict=False))}  # fmt: skip
        for inference, scorer, branch, *search in branches:
            for level in (5, 10, 15, 20):
                for replicate in range(replicates):
                    yield {**shared, "inference": inference, "curriculum": "paper",
                           "scorer": scorer, "rewind": "imp", "branch": branch,
                           "replicate": replicate, "level": level,
                           **dict(zip(["search"], search, strict=False))}  # fmt: skip


def study(
    *models, accuracy=lambda n: 0.9, mace=lambda n: 0.1, seconds=lambda n: 60.0, noise=0.001, **kind
):
    """The table of runs in which a node n has these results, plus noise of its own."""
    rows = []
    for model in models:
        for node in nodes(model, **kind):
            n, draw = SimpleNamespace(**node), random.Random(str(sorted(node.items(), key=str)))
            rows.append(
                {
                    **(LATER if n.level else dict.fromkeys(LATER)),
                    **node,
                    "density": 0.8**n.level,
                    "peak_accuracy": accuracy(n) + noise * draw.gauss(0, 1),
                    "final_accuracy": 0.5,
                    "selected_accuracy": math.nan,
                    "selected_mace": math.nan,
                    "peak_mace": mace(n) + noise * draw.gauss(0, 1),
                    "passes_sd_accuracy": 0.002 if n.inference == "bayesian" else 0.0,
                    "passes_sd_mace": 0.001,
                    "seconds": seconds(n) * (1 + noise * draw.gauss(0, 1)),
                    "device": "cpu",
                }
            )
    return pd.DataFrame(rows).astype(COORDINATES)


def layers(*models, slope=lambda n: 0.5, noise=0.0, count=8, **kind):
    """The table of layers in which density falls with depth, at the rate of the slope.

    With noise, it falls in any order.
    """
    rows = []
    for model in models:
        for node in nodes(model, branches=(), **kind):
            n, draw = SimpleNamespace(**node), random.Random(str(sorted(node.items(), key=str)))
            depth = [layer / count for layer in range(count)]
            shares = [0.8**n.level * math.exp(-slope(n) * d) for d in depth]
            if count > 3 and draw.random() < 0.5:  # else every seed would give the same correlation
                shares[2], shares[3] = shares[3], shares[2]
            if noise:
                draw.shuffle(shares)
            for layer, share in enumerate(shares, 1):
                rows.append({**node, **LATER, "layer": layer, "size": 10**6,
                             "survivors": round(10**6 * share), "density": share})  # fmt: skip
    frame = pd.DataFrame(rows, columns=[*COORDINATES, "layer", "size", "survivors",
                                        "density"])  # fmt: skip
    return frame.astype(COORDINATES)


@functools.cache
def no_layers() -> pd.DataFrame:
    return layers()


def row_of(claim, runs, layer_rows=None, model=None, **options):
    """The one row of a claim, in a study of one model or of the model named."""
    layer_rows = no_layers() if layer_rows is None else layer_rows
    with mock.patch.object(claims, "CLAIMS", {claim: claims.CLAIMS[claim]}):  # the others cost time
        rows = claims.table(runs, layer_rows, options).dropna(subset="model")
    [row] = (rows[rows["model"] == model] if model else rows).to_dict("records")
    return row


def drop(size, condition):
    """An accuracy of 0.9, less where the condition holds."""
    return {"accuracy": lambda n: 0.9 - size * condition(n)}


def branch_is(name):
    return lambda n: n.branch == name


def search_is(name):
    return lambda n: n.level > 0 and getattr(n, "search", None) == name


EQUAL = drop(0, lambda n: False)
PRUNED = drop(0.05, lambda n: n.level > 0)
SQUARE = drop(0.05, lambda n: n.scorer == "square")
TRANSPLANTED = drop(0.05, branch_is("transplant_initial"))


def cost(deterministic):
    return {
        "seconds": lambda n: (
            60.0 if n.inference == "bayesian" or n.branch == "transplant_initial" else deterministic
        )
    }


def sparse_mace(change):
    return {"mace": lambda n: 0.1 + change * (n.level >= 10)}


# Claim -> (model, a study in which it is true, one in which it is false).
CASES = {
    "matching_ticket": ("vgg11", EQUAL, PRUNED),
    "lowest_matching_density": ("vgg11", EQUAL, PRUNED),
    "snr_equals_mu": ("vgg11", EQUAL, drop(0.05, lambda n: n.scorer == "mu")),
    "square_fails": ("vgg11", SQUARE, EQUAL),
    "square_worst_for_vit": (
        "vit_tiny",
        drop(0.05, lambda n: n.scorer == "square" and n.model == "vit_tiny"),
        SQUARE,
    ),
    "mace_falls": ("resnet20", sparse_mace(-0.05), sparse_mace(0.05)),
    "mace_flat": ("vgg11", sparse_mace(0), sparse_mace(-0.05)),
    "ticket_beats_reinit": ("vit_tiny", drop(0.05, branch_is("reinit")), EQUAL),
    "ticket_beats_layerwise": ("resnet20", drop(0.05, branch_is("shuffle_layerwise")), EQUAL),
    "ticket_beats_even": ("vit_tiny", drop(0.05, branch_is("shuffle_even")), EQUAL),
    "ticket_beats_global": ("vit_tiny", drop(0.05, branch_is("shuffle_global")), EQUAL),
    "reinit_equals_layerwise": ("vgg11", EQUAL, drop(0.05, branch_is("reinit"))),
    "reinit_beats_even": ("vgg11", drop(0.05, branch_is("shuffle_even")), EQUAL),
    "reinit_beats_global": ("vgg11", drop(0.05, branch_is("shuffle_global")), EQUAL),
    "layerwise_beats_even": ("vgg11", drop(0.05, branch_is("shuffle_even")), EQUAL),
    "layerwise_beats_global": ("vgg11", drop(0.05, branch_is("shuffle_global")), EQUAL),
    "transplant_matches": ("vgg11", EQUAL, TRANSPLANTED),
    "transplant_fails_for_vit": ("vit_tiny", TRANSPLANTED, EQUAL),
    "transplant_saves": ("vgg11", cost(10.0), cost(100.0)),
    "transplant_saves_half": ("vgg11", cost(10.0), cost(50.0)),
    **{
        f"rewinding_helps_{inference}": ("vgg11", drop(-0.05, lambda n: n.rewind == "lrr"), EQUAL)
        for inference in ("deterministic", "bayesian")
    },
    **{
        f"{name}_costs_{inference}": (
            "vgg11",
            drop(0.05, lambda n, name=name: n.curriculum == name),
            EQUAL,
        )
        for name in ("low_lr", "warmup")
        for inference in ("deterministic", "bayesian")
    },
    "bayesian_equals_deterministic": (
        "vgg11",
        EQUAL,
        drop(0.05, lambda n: n.inference == "bayesian"),
    ),
    **{
        f"{name}_{inference}": (
            "vgg11",
            *(case | {"trunks": WAYS, "branches": WAY_BRANCHES} for case in cases),
        )
        for name, cases in {
            "one_shot_falls_behind": (drop(0.05, search_is("one_shot")), EQUAL),
            "snip_falls_behind": (drop(0.05, lambda n: n.scorer == "snip"), EQUAL),
            "grasp_falls_behind": (drop(0.05, lambda n: n.scorer == "grasp"), EQUAL),
            "synflow_falls_behind": (drop(0.05, lambda n: n.scorer == "synflow"), EQUAL),
            "late_beats_resetting": (drop(-0.05, lambda n: n.rewind == "late_500"), EQUAL),
            "dynamic_matches": (EQUAL, drop(0.05, search_is("set"))),
            "early_matches": (EQUAL, drop(0.05, search_is("early"))),
            "early_costs_a_fifth": (
                EQUAL,
                {"seconds": lambda n: 60.0 * (1 + 20 * search_is("early")(n))},
            ),
            **{
                f"{scorer}_gap_closes": (
                    drop(0.05, lambda n, s=scorer: n.scorer == s and n.level > 7),
                    drop(0.05, lambda n, s=scorer: n.scorer == s),
                )
                for scorer in ("snip", "grasp", "synflow")
            },
            **{
                f"{scorer}_survives_shuffling": (EQUAL, drop(0.05, branch_is("shuffle_layerwise")))
                for scorer in ("snip", "grasp", "synflow")
            },
            "transfer_beats_mask": (drop(0.05, branch_is("moved_mask")), EQUAL),
            "another_seed_falls_behind": (drop(0.05, branch_is("of_seed_9")), EQUAL),
            "distilled_beats_plain": (drop(-0.05, branch_is("soft")), EQUAL),
            "units_fall_behind": (
                drop(0.05, lambda n: getattr(n, "pattern", None) == "units"),
                EQUAL,
            ),
            "learned_beat_initial": (drop(-0.05, branch_is("learned")), EQUAL),
            "small_dense_falls_behind": (drop(0.05, branch_is("small")), EQUAL),
            **{
                f"{scorer}_beats_random": (drop(-0.05, lambda n, s=scorer: n.scorer == s), EQUAL)
                for scorer in ("snip", "grasp", "synflow")
            },
            "moving_beats_staying": (drop(0.05, search_is("still")), EQUAL),
        }.items()
        for inference in ("deterministic", "bayesian")
    },
}

# What stays undecided, under noise, where it is not the study in which all is equal.
UNCLEAR = {
    "transplant_saves_half": cost(28.0),
    **{
        name: {"trunks": WAYS, "branches": WAY_BRANCHES}
        for name, (_, true, _) in CASES.items()
        if "trunks" in true
    },
    **{  # of so many draws of three seeds, these decide by chance
        name: {"trunks": WAYS, "branches": WAY_BRANCHES, "seeds": 2}
        for name in ("snip_survives_shuffling_deterministic", "transfer_beats_mask_bayesian")
    },
    **{
        f"early_costs_a_fifth_{inference}": {
            "trunks": WAYS,
            "seconds": lambda n: 60.0 * (1 + 0.2 * search_is("early")(n)),
        }
        for inference in ("deterministic", "bayesian")
    },
}

# The same for claims on layers: the slope of log density with depth.
LAYER_CASES = {
    "deeper_pruned_more_deterministic": (lambda n: 0.5, lambda n: -0.5),
    "deeper_pruned_more_bayesian": (lambda n: 0.5, lambda n: -0.5),
    "deeper_more_in_bayesian": (
        lambda n: 0.5 if n.inference == "bayesian" else -0.5,
        lambda n: -0.5 if n.inference == "bayesian" else 0.5,
    ),
}


# Of early stopping; see the test of their own.
ORIGINAL = ("original_beats_dense", "original_learns_faster", "original_beats_reinitialised")


def models_for(claim):
    model = CASES[claim][0]
    return ("resnet20", model) if claim == "square_worst_for_vit" else (model,)


def test_every_claim_has_a_case():
    elsewhere = {*exports.CLAIMS, *montecarlo.CLAIMS}  # test_exported.py, test_montecarlo_claims.py
    assert {*CASES, *LAYER_CASES, *ORIGINAL} == set(claims.CLAIMS) - elsewhere


@pytest.mark.parametrize("claim", CASES)
def test_claims_on_runs(claim):
    model, true, false = CASES[claim]
    verdicts = [
        row_of(claim, study(*models_for(claim), **made), model=model, **TOLD)["verdict"]
        for made in (true, false, {"seeds": 3, **UNCLEAR.get(claim, {}), "noise": 0.3})
    ]
    assert verdicts == [SUPPORTED, CONTRADICTED, UNDECIDED]


@pytest.mark.parametrize("claim", LAYER_CASES)
def test_claims_on_layers(claim):
    true, false = LAYER_CASES[claim]
    runs = study("vgg11")
    verdicts = [
        row_of(claim, runs, layers("vgg11", **made))["verdict"]
        for made in ({"slope": true}, {"slope": false}, {"seeds": 3, "noise": 1})
    ]
    assert verdicts == [SUPPORTED, CONTRADICTED, UNDECIDED]


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


def run(tmp_path, options="{}"):
    runs, layer_rows, _ = results.tables(
        synthetic.write(tmp_path, synthetic.study(("resnet20", "vit_tiny"), levels=18))
    )
    paths = {name: tmp_path / f"{name}.parquet" for name in ("runs", "layers")}
    results.write(runs, paths["runs"], tmp_path / "runs.csv")
    results.write(layer_rows, paths["layers"], tmp_path / "layers.csv")
    csv = tmp_path / "claims.csv"
    command = [sys.executable, "scripts/claims.py", "--options", options, "--csv", csv,
               "--html", csv.with_suffix(".html"),
               "--runs", paths["runs"], "--layers", paths["layers"]]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": "src", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, csv


def test_script_writes_the_table(tmp_path):
    done, csv = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    table = pd.read_csv(csv)
    assert list(table.columns) == list(claims.COLUMNS)
    assert set(table["verdict"]) <= set(VERDICTS)
    assert list(dict.fromkeys(table["claim"])) == list(claims.CLAIMS)
    square = table[(table["claim"] == "square_fails") & (table["model"] == "resnet20")]
    assert square["verdict"].tolist() == [SUPPORTED]
    deeper = table[(table["claim"] == "deeper_pruned_more_bayesian")]
    assert set(deeper["verdict"]) <= {SUPPORTED, UNDECIDED}
    html = csv.with_suffix(".html").read_text()
    verdicts = re.findall(rf"<td>({'|'.join(VERDICTS)})</td>", html)
    assert sorted(verdicts, key=VERDICTS.index) == verdicts and len(verdicts) == len(table)
    assert "Bayesian networks hold a matching ticket" in html


def test_script_refuses_in_one_sentence(tmp_path):
    done, csv = run(tmp_path, json.dumps({"statistic": "best"}))
    assert done.returncode == 1
    assert done.stderr.startswith("error: claims.statistic: 'best' is not known")
    assert not csv.exists()


def test_claims_need_no_torch():
    code = "import sys; import bayesian_lottery.findings.claims; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": "src"}, check=True)


def original(seed: int, level: int, branch: str | None = None) -> dict:
    """A deterministic node with tests by step: level 5 is better than dense, and learns faster."""
    made = synthetic.metrics(
        level, model="lenet_300_100", inference="deterministic", scorer="magnitude", seed=seed,
        ranking="layerwise", branch=branch, replicate=None if branch is None else 0,
    )  # fmt: skip
    trunk = {0: (0.98, 5000), 7: (0.984, 3500), 9: (0.985, 3000)}
    accuracy, step = (0.96, 9000) if branch else trunk[level]
    rows = [(step - 500, 0.1), (step + 100 * seed, 0.05), (step + 1000, 0.07)]
    made["by_step"] = [
        {"step": at, "validation_nll": nll, "validation_accuracy": 0.9, "test_nll": 0.1,
         "test_accuracy": accuracy + 0.0001 * seed * (level > 0 and not branch)}
        for at, nll in rows
    ]  # fmt: skip
    return made


def test_the_original_claims_are_of_early_stopping_and_of_the_tickets_chosen(tmp_path):
    nodes = [original(seed, level) for seed in range(3) for level in (0, 7, 9)]
    nodes += [original(seed, 7, "reinit") for seed in range(3)]
    runs, layers, _ = results.tables(synthetic.write(tmp_path, nodes))
    judged = claims.table(runs, layers, {"tickets": {"ranking": "layerwise"}})
    own = judged[judged["number"] == 12].set_index("claim")
    assert own["verdict"].tolist() == ["supported"] * 3
    assert own["estimate"]["original_beats_dense"] == pytest.approx(0.0051)
    # Seeds 0 to 2: 3500 / 5000, 3600 / 5100 and 3700 / 5200, less 1.
    assert own["estimate"]["original_learns_faster"] == pytest.approx(-0.294, abs=1e-3)
    assert own["estimate"]["original_beats_reinitialised"] == pytest.approx(0.0241)
    alone = claims.table(runs[runs["seed"] == 0], layers, {"tickets": {"ranking": "layerwise"}})
    assert set(alone[alone["number"] == 12]["verdict"]) == {"undecided"}
    papers = claims.table(runs, layers, {})
    assert set(papers[papers["number"] == 12]["verdict"]) == {"not tested"}
