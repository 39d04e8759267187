"""Figures 14 to 16, table 3 and the table of agreement, of a made-up study of posteriors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import synthetic_posteriors as posteriors
import torch
from drawn import draw, lines
from synthetic_posteriors import TOLD

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_tensors
from bayesian_lottery.findings import agreement, arms, figures, results
from bayesian_lottery.findings.figures import NothingToShow

pytestmark = pytest.mark.slow

LEVELS = (0, 3, 6, 10, 15, 20)


def nodes():
    return [*posteriors.trunks(levels=LEVELS), *posteriors.branches(levels=LEVELS)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of results with predictions and draws, and the table of runs."""
    root = tmp_path_factory.mktemp("results")
    runs = results.tables(synthetic.write(root, nodes())).runs
    posteriors.write(root, results.nodes(runs))
    return root, runs


@pytest.fixture(scope="module")
def table(made):
    root, runs = made
    return agreement.table(runs, TOLD["arms"], {}, root)


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
    names |= {"tuned Bayesian", "HMC from random weights, 2 chains"}
    assert set(lines(above)) == names
    assert set(lines(below)) == {
        "ticket", "HMC from random weights, 2 chains", "HMC, mask shuffled evenly, 2 chains",
    }  # fmt: skip
    sampled = runs.query("branch == 'sampled' and level == 20")["peak_accuracy"].mean()
    line = lines(above)["HMC from random weights, 2 chains"]
    assert line.get_ydata()[-1] == pytest.approx(100 * sampled)
    assert line.get_xdata()[0] == 100
    labels = [text.get_text() for text in figure.legends[0].texts]
    assert labels[-1] == "chains disagree" and labels[-2] == "dense, deterministic"


def test_figure14_is_of_posteriors_and_ensembles_only(made):
    nodes = results.nodes(made[1])
    plain = [node for node in nodes if node["branch"] in (None, "anew")]
    with pytest.raises(NothingToShow, match="is a posterior or an ensemble"):
        figures.plan("figure14", plain, TOLD)
    for more in ("ensemble", "vi"):
        figures.plan("figure14", [*plain, *(n for n in nodes if n["branch"] == more)], TOLD)


def test_lines_that_share_few_words_get_more_at_their_ends():
    pools = [arms.Arm(f"of{n}", "deterministic", pool="reinit", members=n) for n in (2, 5)]
    other = [arms.Arm(name, "laplace") for name in ("full", "last_layer")]
    ends = arms.labels([arms.Arm(None, "deterministic"), *pools, *other, arms.Arm("w", "swag")])
    assert list(ends.values()) == [
        "ticket", "ticket, 2", "ticket, 5", "Laplace (full)", "Laplace (last_layer)", "SWAG",
    ]  # fmt: skip


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
    figure = draw("figure16", {"runs": runs}, posteriors.chain_files(root, plan))
    traces, growth, spread = figure.axes
    assert set(lines(traces)) == {"chain1", "chain2"}
    assert lines(growth)["R-hat"].get_ydata()[-1] > 1.1  # chains apart
    assert set(lines(growth)["1.04"].get_ydata()) == {1.04}  # of the configuration
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
