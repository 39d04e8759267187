"""Figures 14 to 16, table 3 and the table of agreement, of a made-up study of posteriors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_tensors
from bayesian_lottery.findings import agreement, arms, figures, results
from bayesian_lottery.findings.figures import NothingToShow, selection, style
from bayesian_lottery.inference.kinds import KINDS, Kind
from bayesian_lottery.study import Node

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LEVELS, SEEDS = (0, 3, 6, 10, 15, 20), (0, 1)
PIECES = {
    "chain": {"inference": "gibbs_long", "weights": "reinitialised"},
    "sampled": {"pool": "chain", "members": 2},
    "chain_even": {"inference": "gibbs_long", "mask": "shuffle_even"},
    "sampled_even": {"pool": "chain_even", "members": 2},
    "anew": {"weights": "reinitialised"},
    "ensemble": {"pool": "anew", "members": 5},
    "vi": {"inference": "bayesian"},
    "tuned_vi": {"inference": "population"},
}
TOLD = {"arms": {"branches": PIECES, "inferences": {"gibbs_long": "gibbs", "population": "tuned"}}}
REPLICATES = {"anew": 5, "chain": 2, "chain_even": 2}
# How far from the sampler's each arm's logits are, what it gains, and the gradients it takes.
FAR = {None: 2.0, "anew": 2.5, "ensemble": 0.8, "vi": 1.2, "tuned_vi": 0.6, "sampled": 0.0}
GAINS = {"sampled": 0.02, "sampled_even": -0.02, "ensemble": 0.015, "vi": 0.0, "tuned_vi": 0.01}
SPENT = {"sampled": 4000, "sampled_even": 4000, "ensemble": 200, "vi": 400, "tuned_vi": 3200}


@pytest.fixture(scope="module", autouse=True)
def _a_sampler():
    """A kind that draws, whichever the package has."""
    gibbs = Kind(
        "Gibbs", "nowhere:nothing", ("mean", "std"), stochastic=True, draws=True, trainer="no:loop"
    )
    known = {**{n: replace(kind, draws=False) for n, kind in KINDS.items()}, "gibbs": gibbs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arms, "KINDS", known)
        patch.setattr(selection, "KINDS", known)
        yield


def nodes():
    for seed in SEEDS:
        for level in LEVELS:
            shared = {
                **{"seed": seed, "level": level, "model": "resnet20"},
                **{"inference": "deterministic", "scorer": "magnitude"},
            }
            yield synthetic.metrics(**shared)
            for branch in PIECES:
                for replicate in range(REPLICATES.get(branch, 1)):
                    made = synthetic.metrics(**shared, branch=branch, replicate=replicate)
                    for result in made["results"].values():
                        result["accuracy"] += GAINS.get(branch, -0.005)
                    made["sampling"] = {"gradients": SPENT.get(branch, 40)}
                    if "pool" in PIECES[branch]:
                        own = {**made["node"], "branch": PIECES[branch]["pool"]}
                        made["members"] = [{**own, "replicate": number} for number in range(2)]
                    if branch.startswith("sampled"):
                        known = {"chains": 2, "draws": 150, "quantities": 200, "reason": ""}
                        made["convergence"] = {**known, "converged": level < 20}
                    yield made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of results with predictions and draws, and the table of runs."""
    root = tmp_path_factory.mktemp("results")
    every = [*nodes()]
    runs = results.tables(synthetic.write(root, every)).runs
    labels = torch.arange(200) % 10
    for metrics in every:
        node = metrics["node"]
        stream = torch.Generator().manual_seed(node["level"])
        logits = 3 * torch.nn.functional.one_hot(labels, 10) + torch.randn(
            200, 10, generator=stream
        )
        own = torch.Generator().manual_seed(hash(str(sorted(node.items(), key=str))) % 2**31)
        far = FAR.get(node["branch"], 1.5)
        logits = logits + far * torch.randn(200, 10, generator=own)
        folder = root / Node(**node).folder
        write_tensors(
            folder / "predictions.safetensors", {"probabilities": logits.softmax(-1).half()}
        )
        if node["branch"] in ("chain", "chain_even"):
            walk = torch.randn(150, generator=own).double().cumsum(0) / 8 + 5 * node["replicate"]
            wander = torch.randn(150, 20, 10, generator=own) + logits[:20]
            draws = {"log_likelihood": walk, "probabilities": wander.softmax(-1).half()}
            write_tensors(folder / "draws.safetensors", draws)
    return root, runs


@pytest.fixture(scope="module")
def table(made):
    root, runs = made
    return agreement.table(runs, TOLD["arms"], {}, root)


def draw(name, tables, files=None, **options):
    with style.applied(ROOT / "config/figures.mplstyle"):
        return figures.draw(name, tables, {**options, **TOLD}, files)


def lines(axes) -> dict:
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_agreement_is_of_classes_and_of_distributions():
    ours = np.array([[0.7, 0.2, 0.1], [0.4, 0.6, 0.0], [1.0, 0.0, 0.0]])
    theirs = np.array([[0.5, 0.5, 0.0], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0]])
    found = agreement.agreement(ours, theirs)
    assert found["top1"] == pytest.approx(1 / 3)  # of equals the first class
    assert found["total_variation"] == pytest.approx((0.3 + 0.2 + 1.0) / 3)


def test_the_table_compares_each_node_on_a_tickets_mask_with_the_sampler(table, made):
    root, runs = made
    assert set(table["reference"]) == {"sampled"} and len(table) == 12 * (1 + 5 + 4)
    assert set(table["branch"].dropna()) == {"sampled", "anew", "ensemble", "vi", "tuned_vi"}
    itself = table[table["branch"] == "sampled"]
    assert (itself["top1"] == 1).all() and (itself["total_variation"] == 0).all()
    means = table.drop(itself.index).groupby("arm")["total_variation"].mean()
    assert means.idxmin() == "tuned Bayesian" and means.idxmax() == "random weights"
    one = table[(table["arm"] == "Bayesian") & (table["level"] == 10) & (table["seed"] == 1)]
    (row,) = one.to_dict("records")
    own = runs.query("branch == 'vi' and level == 10 and seed == 1")
    assert row["accuracy"] == own["final_accuracy"].iloc[0] and row["gradients"] == 400
    assert row["converged"] and not table[table["level"] == 20]["converged"].any()
    wanted = arms.predictions([m["node"] for m in nodes()], TOLD["arms"], {}, str(root))
    assert len(wanted) == len(table)
    assert all(Path(path).exists() for path in wanted)


def test_other_test_images_are_refused(made, tmp_path):
    _, runs = made
    own = runs[(runs["level"] == 0) & (runs["seed"] == 0)]
    for node in results.nodes(own):
        folder = tmp_path / arms.folder(node)
        size = 3 if node["branch"] == "sampled" else 4
        probabilities = torch.full((size, 10), 0.1).half()
        write_tensors(folder / "predictions.safetensors", {"probabilities": probabilities})
    with pytest.raises(InputError, match="only predictions of the same test images"):
        agreement.table(own, TOLD["arms"], {}, tmp_path)


def test_figure14_draws_each_arm_and_other_masks_below(made):
    _, runs = made
    figure = draw("figure14", {"runs": runs})
    above, below = figure.axes
    names = {"ticket", "random weights", "random weights, 5 networks", "Bayesian"}
    names |= {"tuned Bayesian", "Gibbs from random weights, 2 chains"}
    assert set(lines(above)) == names
    assert set(lines(below)) == {
        "ticket", "Gibbs from random weights, 2 chains", "Gibbs, mask shuffled evenly, 2 chains",
    }  # fmt: skip
    sampled = runs.query("branch == 'sampled' and level == 20")["peak_accuracy"].mean()
    line = lines(above)["Gibbs from random weights, 2 chains"]
    assert line.get_ydata()[-1] == pytest.approx(100 * sampled)
    assert line.get_xdata()[0] == 100
    labels = {text.get_text() for text in figure.legends[0].texts}
    assert "chains disagree" in labels


def test_figure15_draws_agreement_against_gradients(table):
    figure = draw("figure15", {"agreement": table}, densities=[0.1, 0.01])
    top1, *_ = figure.axes
    assert len(figure.axes) == 6
    points = {bars.get_label(): bars.lines[0].get_xydata()[0] for bars in top1.containers}
    own = table[(table["arm"] == "tuned Bayesian") & (table["level"] == 10)]
    assert points["tuned Bayesian"] == pytest.approx([3200, 100 * own["top1"].mean()])
    assert len(draw("figure15", {"agreement": table[table["level"] <= 3]}).axes) == 3  # 51 %
    assert "disagree" in figure.axes[1].get_title() and "disagree" not in top1.get_title()


def test_table3_has_a_row_for_each_density_and_arm(table, tmp_path):
    sheet = draw("table3", {"agreement": table})
    assert len(sheet.table) == len(LEVELS) * 6
    assert sheet.table["density (%)"].is_monotonic_decreasing
    first = sheet.table[sheet.table["density (%)"] == 100]
    assert first["arm"].iloc[1] == "tuned Bayesian" and first["total_variation"].iloc[0] == 0
    assert first.set_index("arm").loc["random weights", "top1_n"] == 10
    figures.save(sheet, tmp_path / "table3.html")
    figures.save(sheet, tmp_path / "table3.csv")
    assert "(chains disagree)" in (tmp_path / "table3.html").read_text()
    assert len(pd.read_csv(tmp_path / "table3.csv")) == len(sheet.table)


def test_figure16_draws_the_chains_of_a_pool(made):
    root, runs = made
    plan = figures.plan("figure16", results.nodes(runs), TOLD)
    assert {where["branch"] for where in plan.chains.values()} == {"chain"}
    assert {where["level"] for where in plan.chains.values()} == {20}
    files = {k: root / arms.folder(where) / "draws.safetensors" for k, where in plan.chains.items()}
    figure = draw("figure16", {"runs": runs}, files)
    traces, growth, spread = figure.axes
    assert set(lines(traces)) == {"chain1", "chain2"}
    assert lines(growth)["R-hat"].get_ydata()[-1] > 1.1  # chains apart
    assert "R-hat of 200 class probabilities" in spread.get_xlabel()
    with pytest.raises(NothingToShow, match="The file 'chain1' is not given"):
        draw("figure16", {"runs": runs})
    with pytest.raises(NothingToShow, match="No pool of level 4 is there; there is 0, 3, 6"):
        figures.plan("figure16", results.nodes(runs), {**TOLD, "level": 4})


@pytest.mark.parametrize("name", ["figure14", "figure15", "figure16", "table3"])
def test_a_study_without_samplers_is_told_why(name):
    plain = [m["node"] for m in synthetic.study(levels=2)]
    with pytest.raises(NothingToShow, match="There is no"):
        figures.plan(name, plain, {})
