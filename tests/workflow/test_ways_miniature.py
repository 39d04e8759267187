"""The ways to a ticket in miniature: config/ways.yaml is whole, and a smaller form of it runs."""

from collections import Counter

import pandas as pd
import pytest
import yaml
from test_partial import ROOT, Study, checkout

from bayesian_lottery import study
from bayesian_lottery.findings import figures
from bayesian_lottery.study import configuration

CONFIG = ROOT / "config/ways.yaml"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


@pytest.fixture
def folder(tmp_path):
    checkout(tmp_path)
    return tmp_path


def test_the_miniature_is_whole() -> None:
    config, nodes = configuration.load([CONFIG], [], SCHEMA)
    pruned = [node for node in nodes if node.level and not node.branch]
    kinds = Counter(study.search_kind(config, node.search) for node in pruned)
    each = 2 * 2 * 5  # inferences, seeds, levels
    assert kinds == {
        # Reset and late; units; two of four; half of the classes.
        "iterative": 2 * each + 2 * 5 + 2 + 2 * 3,
        "one_shot": each,
        "early": each,
        "at_init": 4 * each + 2 * 5,  # scorers; magnitude
        "dynamic": 3 * each,  # SET, RigL, and a mask that stays
        "gradual": each,
    }
    branches = Counter(node.branch for node in nodes if node.branch)
    six = ("distilled", "learned", "signs", "untrained", "small", "small_distilled")
    halves = ("transfer", "transfer_mask")
    assert branches == {
        **dict.fromkeys(six, 2 * 2),
        **dict.fromkeys(halves, 2),
        "weights_of_seed_0": 2,
        "shuffle_layerwise": 3 * 2 * 2,
    }
    assert len(nodes) == len(pruned) + branches.total() + 6
    for name in ("figure10", "figure11", "figure12", "figure13"):
        figures.plan(name, [node.coordinates() for node in nodes], study.ways(config))


def test_every_node_of_the_miniature_can_be_made(folder) -> None:
    made = Study(folder)
    made.config = yaml.safe_load(CONFIG.read_text())
    _, nodes = configuration.load([CONFIG], [], SCHEMA)
    planned = made.planned()
    early = planned.pop("train_early")
    trainings = {rule: n for rule, n in planned.items() if rule.startswith("train_")}
    assert early == 2 * 2
    assert sum(trainings.values()) == len(nodes), planned
    drawn = {f"plot_figure{number}" for number in range(10, 14)}
    assert drawn | {"overlaps", "distances", "count", "claims"} <= planned.keys()


@pytest.mark.slow
def test_a_smaller_form_ends_in_figures_and_claims(folder) -> None:
    made = Study(folder)
    made.config = yaml.safe_load(CONFIG.read_text())
    made.config["prune_fraction"] = 0.9
    made.config["curricula"]["short"] |= {"epochs": 2, "milestones": []}
    made.config["trunks"] = [
        {**trunk, "seeds": [0], "levels": 1} for trunk in made.config["trunks"]
    ]
    ticket, _, *others = made.config["branches"]  # there is one seed
    made.config["branches"] = [{**entry, "levels": [1]} for entry in (ticket, *others)]
    full = max(made.config["exports"], key=lambda entry: len(entry["formats"]))
    made.config["exports"] = [{**full, "levels": [1]}]
    made.snakemake()
    results = folder / "results/ways"
    for name in ("figure10", "figure11", "figure12", "figure13"):
        assert (results / f"figures/{name}.png").stat().st_size > 10_000
    assert "ONNX, int8" in (results / "figures/table2.html").read_text()
    exports = pd.read_parquet(results / "tables/exports.parquet")
    refused = exports["refused"].notna()
    assert set(exports["format"][refused]) == {"2of4"} and set(exports["level"]) == {1}
    assert (exports["times_smaller"][exports["format"] == "packed"] > 10).all()
    runs = pd.read_parquet(results / "tables/runs.parquet")
    assert len(runs) == 3 + 2 * 12 + 4 + 2 * 6 + 2 + 2 * 3
    plain = runs["branch"].isna() & (runs["pattern"] == "weights") & (runs["dataset"] == "digits")
    assert runs["density"][plain].between(0.099, 0.101).sum() == plain.sum() == 25
    small = runs["branch"].isin(["small", "small_distilled"])
    assert (runs["survivors"][small] <= 1140).all()
    assert ((runs["flops"] > 0) == (runs["branch"].fillna("") != "untrained")).all()
    judged = pd.read_csv(results / "tables/claims.csv").query("13 <= number < 36")
    tested = set(judged[judged["estimate"].notna()]["claim"].str.rpartition("_")[0])
    there = {"one_shot_falls_behind", "snip_falls_behind", "synflow_falls_behind"}
    there |= {"grasp_falls_behind", "grasp_survives_shuffling"}
    there |= {"late_beats_resetting", "dynamic_matches", "early_matches", "early_costs_a_fifth"}
    there |= {"snip_survives_shuffling", "synflow_survives_shuffling", "units_fall_behind"}
    there |= {"transfer_beats_mask", "distilled_beats_plain", "learned_beat_initial"}
    assert tested == there | {"small_dense_falls_behind"}
