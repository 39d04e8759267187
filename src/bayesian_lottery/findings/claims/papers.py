"""The claims of the papers, and of the original experiment, by name."""

from collections.abc import Callable, Mapping
from functools import partial

from bayesian_lottery.findings.claims import branches, depth, original, trunks
from bayesian_lottery.findings.claims.branches import TICKET
from bayesian_lottery.findings.claims.claim import Claim, each_inference
from bayesian_lottery.findings.claims.subjects import CONVOLUTIONAL, PAPERS
from bayesian_lottery.findings.claims.verdicts import Region, beats, equals


def _compared(
    first: str, second: str, region: Callable[[float], Region], families: tuple[str, ...]
) -> Claim:
    verbs: Mapping[Callable[[float], Region], str] = {beats: "beats", equals: "equals"}
    find = partial(branches.compare, first=first, second=second, region=region)
    text = f"In accuracy, {first} {verbs[region]} {second}."
    return Claim(6, text, "figure 4", find, families, others=True)


_ORIGINAL = "The Lottery Ticket Hypothesis, figures 3 and 4"

CLAIMS: Mapping[str, Claim] = {
    "matching_ticket": Claim(
        1, "Bayesian networks hold a matching ticket at about 10 % density.", "figure 1",
        trunks.matching_ticket,
    ),
    "lowest_matching_density": Claim(
        1, "Bayesian tickets match at every density down to about 10 %.", "figure 1",
        trunks.lowest_matching_density,
    ),
    "snr_equals_mu": Claim(
        2, "SNR and mu prune equally well.", "figure 1", trunks.snr_equals_mu
    ),
    "square_fails": Claim(
        3, "The squared sum fails at high sparsity.", "figure 1", trunks.square_fails
    ),
    "square_worst_for_vit": Claim(
        3, "The squared sum fails worst for ViT.", "figure 1", trunks.square_worst, ("vit",)
    ),
    "mace_falls": Claim(
        4, "MACE falls at high sparsity.", "figure 1", trunks.mace_falls, ("resnet", "vit")
    ),
    "mace_flat": Claim(
        4, "MACE stays flat at high sparsity.", "figure 1", trunks.mace_flat, ("vgg",)
    ),
    **each_inference(
        "deeper_pruned_more", 5, "Deeper layers of {} networks are pruned more.", "figure 2",
        depth.deeper_pruned_more,
    ),
    "deeper_more_in_bayesian": Claim(
        5, "Bayesian networks prune deeper layers even more so than deterministic ones.",
        "figure 2", depth.deeper_more_in_bayesian,
    ),
    "ticket_beats_reinit": _compared(TICKET, "reinit", beats, PAPERS),
    "ticket_beats_layerwise": _compared(TICKET, "shuffle_layerwise", beats, PAPERS),
    "ticket_beats_even": _compared(TICKET, "shuffle_even", beats, ("vit",)),
    "ticket_beats_global": _compared(TICKET, "shuffle_global", beats, ("vit",)),
    "reinit_equals_layerwise": _compared("reinit", "shuffle_layerwise", equals, CONVOLUTIONAL),
    "reinit_beats_even": _compared("reinit", "shuffle_even", beats, CONVOLUTIONAL),
    "reinit_beats_global": _compared("reinit", "shuffle_global", beats, CONVOLUTIONAL),
    "layerwise_beats_even": _compared("shuffle_layerwise", "shuffle_even", beats, CONVOLUTIONAL),
    "layerwise_beats_global": _compared(
        "shuffle_layerwise", "shuffle_global", beats, CONVOLUTIONAL
    ),
    "transplant_matches": Claim(
        7, "Transplanted deterministic tickets match Bayesian tickets.", "figure 5",
        branches.transplant_matches, CONVOLUTIONAL, others=True,
    ),
    "transplant_fails_for_vit": Claim(
        7, "Transplanted deterministic tickets do not match Bayesian tickets for ViT.", "figure 5",
        branches.transplant_fails, ("vit",),
    ),
    "transplant_saves": Claim(
        8, "Transplantation saves compute.", "table 1", branches.transplant_saves
    ),
    "transplant_saves_half": Claim(
        8, "Transplantation saves up to half of the compute: the saving reaches half.", "table 1",
        branches.transplant_saves_half,
    ),
    **each_inference(
        "rewinding_helps", 9,
        "Rewinding the learning rate beats IMP at high sparsity, in {} networks.",
        "figure 8", trunks.rewinding_helps,
    ),
    **each_inference(
        "low_lr_costs", 10, "A low learning rate costs accuracy, in {} networks.",
        "figure 7", partial(trunks.curriculum_costs, name="low_lr"),
    ),
    **each_inference(
        "warmup_costs", 10, "A warm-up costs accuracy, in {} networks.",
        "figure 7", partial(trunks.curriculum_costs, name="warmup"),
    ),
    "bayesian_equals_deterministic": Claim(
        11, "Bayesian tickets are as accurate as deterministic ones of equal density.",
        "sibling paper, Bayes Always Wins the Lottery in Monte Carlo",
        trunks.bayesian_equals_deterministic,
    ),
    "original_beats_dense": Claim(
        12, "Tickets near 13 % density are more accurate than the dense network.", _ORIGINAL,
        original.beats_dense, ("mlp",),
    ),
    "original_learns_faster": Claim(
        12, "Tickets near 21 % density learn in fewer steps than the dense network.", _ORIGINAL,
        original.learns_faster, ("mlp",),
    ),
    "original_beats_reinitialised": Claim(
        12, "Tickets near 21 % density are more accurate than with their weights drawn anew.",
        _ORIGINAL, original.beats_reinitialised, ("mlp",),
    ),
}  # fmt: skip
