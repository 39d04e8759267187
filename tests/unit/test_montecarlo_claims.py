"""Claims on samplers, variational inference and ensembles on the masks of tickets."""

import math
from dataclasses import replace
from unittest import mock

import pandas as pd
import pytest
import synthetic_claims as made_up
from synthetic_claims import no_layers

from bayesian_lottery.findings import arms, claims
from bayesian_lottery.findings.claims import montecarlo
from bayesian_lottery.findings.claims.verdicts import (
    CONTRADICTED,
    NOT_TESTED,
    SUPPORTED,
    UNDECIDED,
)
from bayesian_lottery.inference import kinds
from bayesian_lottery.inference.kinds import KINDS, Kind

# As configurations name them; nothing in the package knows these names.
PIECES = {
    "one_chain": {"inference": "gibbs_long", "weights": "reinitialised"},
    "four_chains": {"pool": "one_chain", "members": 4},
    "elsewhere": {"inference": "gibbs_long", "mask": "shuffle_even"},
    "chains_elsewhere": {"pool": "elsewhere", "members": 4},
    "anew": {"weights": "reinitialised"},
    "five_anew": {"pool": "anew", "members": 5},
    "forty_anew": {"pool": "anew", "members": 40},
    "plain_vi": {"inference": "bayesian"},
    "best_vi": {"inference": "population"},
    "other_data": {"inference": "gibbs_long", "dataset": "elsewhere"},
    "smaller": {"network": "narrow"},
}
TOLD = {"inferences": {"gibbs_long": "gibbs", "population": "tuned"}, "branches": PIECES}
GRADIENTS = {"anew": 10, "five_anew": 50, "forty_anew": 400, "four_chains": 380}
BRANCHES = tuple(("deterministic", "magnitude", name) for name in PIECES)


@pytest.fixture(autouse=True)
def _a_sampler(monkeypatch):
    """A kind that draws, whichever the package has."""
    gibbs = Kind(
        "Gibbs", "nowhere:nothing", ("mean", "std"), stochastic=True, draws=True, trainer="no:loop"
    )
    known = {n: replace(kind, draws=False) for n, kind in KINDS.items()}
    monkeypatch.setattr(kinds, "KINDS", {**known, "gibbs": gibbs})
    monkeypatch.setattr(arms, "KINDS", {**known, "gibbs": gibbs})


def study(model="resnet20", gain=lambda n: 0.0, ess=lambda n: 400.0, converged=True, **more):
    """All arms, of an accuracy of 0.9 and what each gains."""
    frame = made_up.study(
        model,
        accuracy=lambda n: 0.9 + gain(n),
        trunks=(("deterministic", "magnitude", "imp", "paper"),),
        branches=BRANCHES,
        **more,
    )
    pooled = frame["branch"].isin(["four_chains", "chains_elsewhere"])
    effective = [ess(row) for row in frame.itertuples()]
    return frame.assign(
        members=pd.Series(4, frame.index, "Int64").where(pooled),
        converged=pd.Series(converged, frame.index, "boolean").where(pooled),
        ess_bulk_log_likelihood=pd.Series(effective).where(pooled),
        gradients=frame["branch"].map(GRADIENTS).fillna(10.0).astype(float),
    )


def row(claim, frame, **options):
    with mock.patch.object(claims, "CLAIMS", {claim: montecarlo.CLAIMS[claim]}):
        table = claims.table(frame, no_layers(), {"arms": TOLD, **options})
    return table.dropna(subset="model").to_dict("records")[0]


def gains(**by_branch):
    return {"gain": lambda n: by_branch.get(n.branch or "ticket", 0.0)}


CHAINS = {"four_chains": 0.05}
SPARSER = {"gain": lambda n: 0.002 * n.level * (n.branch == "four_chains")}
DENSER = {"gain": lambda n: -0.002 * n.level * (n.branch == "four_chains")}
CASES = {
    "sampler_matches_ticket": ({}, gains(four_chains=-0.05)),
    "sampler_beats_random": (gains(**CHAINS), {}),
    "sampler_beats_random_sparser": (SPARSER, DENSER),
    "sampler_beats_ensemble": (gains(**CHAINS, five_anew=0.1), gains(forty_anew=0.05)),
    "tuned_beats_default": (gains(best_vi=0.05), gains(plain_vi=0.05)),
    "variational_beats_ticket": (gains(best_vi=0.05), gains(plain_vi=0.05)),
    "mask_matters": (gains(**CHAINS), {}),
    "sparsity_improves_mixing": (
        {"ess": lambda n: 100.0 * 1.1 ** (n.level * (1 + 0.05 * n.seed))},
        {"ess": lambda n: 100.0 * 0.9 ** (n.level * (1 + 0.05 * n.seed))},
    ),
}


def test_every_claim_has_a_case():
    assert CASES.keys() == montecarlo.CLAIMS.keys()


@pytest.mark.parametrize("claim", CASES)
def test_claims(claim):
    true, false = CASES[claim]
    noisy = {"noise": 0.3, "ess": lambda n: 100 * math.exp((-1) ** n.seed * n.level)}
    found = [row(claim, study(**made)) for made in (true, false, {"seeds": 3, **noisy})]
    assert [each["verdict"] for each in found] == [SUPPORTED, CONTRADICTED, UNDECIDED]
    assert found[0]["statistic"]


def test_chains_that_disagree_decide_nothing():
    for claim in (name for name in CASES if "variational" not in name and "tuned" not in name):
        found = row(claim, study(**CASES[claim][0], converged=False))
        assert found["verdict"] == UNDECIDED and "chains of draws" in found["reason"], claim


def test_the_ensemble_is_the_one_of_as_many_gradients():
    only_small = study(**gains(**CHAINS))
    only_small = only_small[only_small["branch"] != "forty_anew"]
    found = row("sampler_beats_ensemble", only_small)
    assert found["verdict"] == NOT_TESTED
    assert found["reason"] == "no ensemble took about as many gradients as the sampler"


def test_what_is_missing_is_said():
    without = study()
    for name, claim, reason in (
        ("four_chains", "sampler_matches_ticket", "no pool of a sampler's chains"),
        ("anew", "sampler_beats_random", "no random weights"),
        ("best_vi", "tuned_beats_default", "no branch of inference tuned"),
        ("chains_elsewhere", "mask_matters", "no pool of the sampler's chains on another mask"),
    ):
        found = row(claim, without[without["branch"] != name])
        assert found["reason"] == f"{reason} on deterministic tickets"


def test_arms_are_known_by_their_pieces():
    found = {arm.branch: arm for arm in arms.arms(TOLD, "deterministic")}
    assert not found.keys() & {"other_data", "smaller"} and found[None].words == "ticket"
    words = {name: arm.words for name, arm in found.items() if name in PIECES}
    assert words == {
        "one_chain": "Gibbs from random weights",
        "four_chains": "Gibbs from random weights, 4 chains",
        "elsewhere": "Gibbs, mask shuffled evenly",
        "chains_elsewhere": "Gibbs, mask shuffled evenly, 4 chains",
        "anew": "random weights",
        "five_anew": "random weights, 5 networks",
        "forty_anew": "random weights, 40 networks",
        "plain_vi": "Bayesian",
        "best_vi": "tuned Bayesian",
    }
    assert found["transplant_initial"].words == "Bayesian"
    both = arms.names([found["plain_vi"], found["transplant_initial"]])
    assert both[found["plain_vi"]] == "Bayesian (plain_vi)"
    kept = {arm.branch for arm in arms.whole([*found.values()])}
    assert "four_chains" in kept and not kept & {"one_chain", "elsewhere"} and "anew" in kept
    assert [arm.branch for arm in arms.references([*found.values()])] == ["four_chains"]
