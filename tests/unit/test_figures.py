"""The figures: what they draw, what they refuse, and that the same table gives the same bytes."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.style
import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
import yaml
from docutils.core import publish_parts
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, StrictUndefined
from matplotlib.colors import to_hex
from matplotlib.text import Text
from snakemake.utils import validate

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_tensors
from bayesian_lottery.findings import figures, results
from bayesian_lottery.findings.figures import NothingToShow, style
from bayesian_lottery.study.node_metrics import STATISTICS
from bayesian_lottery.tickets import masks as torch_masks
from bayesian_lottery.tickets.branches import BRANCHES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "config/figures.mplstyle"
DRAWN = [name for name, figure in figures.FIGURES.items() if "png" in figure.formats]


def tables(folder: Path, nodes) -> dict:
    runs, layers, _ = results.tables(synthetic.write(folder, nodes))
    return {"runs": runs, "layers": layers}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    nodes = synthetic.study(models=("resnet20", "vit_tiny"), seeds=(0, 1), levels=6)
    return tables(tmp_path_factory.mktemp("study"), nodes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tables of a study that feeds every figure."""
    return tables(tmp_path_factory.mktemp("whole"), synthetic.full())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The masks and initial weights of figure 3."""
    folder = tmp_path_factory.mktemp("masks")
    stream = torch.Generator().manual_seed(0)
    weights = {
        f"{name}.weight": torch.empty(shape).uniform_(-bound, bound, generator=stream)
        for name, shape, bound in (
            ("stem", (4, 1, 3, 3), 1 / 3),
            ("first", (8, 4, 3, 3), 1 / 6),
            ("second", (40, 60), 0.12),
        )
    }
    write_tensors(folder / "initial", weights)
    scores = {name: weight.abs() for name, weight in weights.items()}
    ones = torch_masks.ones({name: weight.shape for name, weight in weights.items()})
    ticket = torch_masks.prune(ones, scores, 0.6)
    made = {
        "ticket": ticket,
        "reinit": ticket,
        "shuffle_layerwise": torch_masks.shuffle_layerwise(ticket, stream),
        "shuffle_even": torch_masks.shuffle_even(ticket, stream),
        "shuffle_global": torch_masks.shuffle_global(ticket, stream),
    }
    for name, mask in made.items():
        torch_masks.save(folder / name, mask)
    return {name: folder / name for name in ["initial", *made]}


def draw(name: str, tables: dict, files=None, **options):
    with style.applied(STYLE):
        return figures.draw(name, tables, options, files)


def lines(axes) -> dict:
    """The labelled lines of a panel: matplotlib names the others with an underscore."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def said(figure) -> str:
    return figure.get_suptitle().replace("\n", " ")


def dashed(axes) -> list:
    return [line for line in axes.lines if line.get_label().startswith("_")]


def test_the_registry_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys, bayesian_lottery.findings.figures as f; assert f.FIGURES; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'pandas')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawing_imports_neither_torch_nor_pyplot():
    modules = ", ".join(
        f"bayesian_lottery.findings.figures.{f.drawing}" for f in figures.FIGURES.values()
    )
    code = (
        f"import sys, {modules}; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib.pyplot')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figure1_draws_a_line_a_scorer(study):
    figure = draw("figure1", study)
    (accuracy, *_), (mace, *_) = axes = [figure.axes[:2], figure.axes[2:]]
    assert [panel.get_title() for panel in axes[0]] == ["resnet20", "vit_tiny"]
    assert accuracy.get_ylabel() == "Test accuracy (%)"
    assert mace.get_ylabel() == "Test MACE"
    assert "best epoch on test images" in said(figure)
    for row in axes:
        for panel in row:
            assert set(lines(panel)) == {"magnitude", "SNR", "mu", "square"}
            assert len(dashed(panel)) == 2
            assert len(panel.collections) == 4  # a band a line
            assert panel.get_xscale() == "log"
            left, right = panel.get_xlim()
            assert left > 100 > right
    assert to_hex(lines(accuracy)["magnitude"].get_color()) == "#000000"

    row = study["runs"].query("model == 'resnet20' and scorer == 'snr' and level == 6")
    line = lines(accuracy)["SNR"]
    assert line.get_xdata()[0] == 100
    assert line.get_xdata()[-1] == pytest.approx(100 * row["density"].iloc[0])
    assert line.get_ydata()[-1] == pytest.approx(100 * row["peak_accuracy"].mean())
    dense = study["runs"].query("model == 'resnet20' and inference == 'bayesian' and level == 0")
    assert line.get_ydata()[0] == pytest.approx(100 * dense["peak_accuracy"].mean())
    assert line.get_ydata()[0] in [reference.get_ydata()[0] for reference in dashed(accuracy)]
    assert "2 seeds" in said(figure)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_figure1_shows_the_statistic_asked_for(study, statistic):
    figure = draw("figure1", study, statistic=statistic, models=["vit_tiny"])
    assert len(figure.axes) == 2
    runs = study["runs"].query("model == 'vit_tiny' and scorer == 'mu' and level == 6")
    drawn = lines(figure.axes[0])["mu"].get_ydata()[-1]
    assert drawn == pytest.approx(100 * runs[f"{statistic}_accuracy"].mean())
    words = {"peak": "on test", "final": "last epoch", "selected": "on validation"}[statistic]
    assert words in said(figure)


@pytest.mark.parametrize("inference", synthetic.SCORERS)
def test_one_kind_of_inference_is_enough(tmp_path, inference):
    alone = tables(tmp_path, synthetic.study(inferences=(inference,), seeds=(0,), levels=2))
    figure = draw("figure1", alone)
    assert len(lines(figure.axes[0])) == len(synthetic.SCORERS[inference])
    assert len(dashed(figure.axes[0])) == 1
    assert "1 seed;" in said(figure)
    assert len(lines(draw("figure2", alone).axes[0])) == 2


def test_figure2_pairs_lines_by_level(study):
    figure = draw("figure2", study, levels=[2, 6])
    panel = figure.axes[0]
    assert set(lines(panel)) == {
        f"{scorer}, level {level}" for scorer in ("magnitude", "SNR") for level in (2, 6)
    }
    line = lines(panel)["SNR, level 6"]
    assert list(line.get_xdata()) == list(range(1, synthetic.LAYERS["resnet20"] + 1))
    rows = study["layers"].query("model == 'resnet20' and level == 6")
    fourth = rows.query("scorer == 'snr' and layer == 4")
    assert line.get_ydata()[3] == pytest.approx(100 * (1 - fourth["density"].mean()))
    # Light to dark.
    pale, dark = (to_hex(lines(panel)[f"SNR, level {level}"].get_color()) for level in (2, 6))
    assert dark == to_hex(style.BLUE) and pale > dark
    last = rows.query("scorer == 'snr'")
    remaining = 100 * last["survivors"].sum() / last["size"].sum()
    assert f"{remaining:.3g} %" in [text.get_text() for text in panel.texts]


def test_figure2_chooses_levels_and_scorer(study):
    default = lines(draw("figure2", study).axes[0])
    assert {label.rsplit()[-1] for label in default} == {"6", "3", "2", "1"}
    assert any(
        label.startswith("mu,") for label in lines(draw("figure2", study, scorer="mu").axes[0])
    )


@pytest.mark.parametrize(
    "other", [{"search": "one_shot"}, {"ranking": "layerwise"}, {"pattern": "units"}]
)
def test_other_searches_rankings_and_patterns_are_left_out(tmp_path, other):
    nodes = list(synthetic.study(seeds=(0,), levels=2))
    others = [synthetic.metrics(level, seed=1, **other) for level in (0, 1, 2)]
    alone, mixed = tables(tmp_path / "alone", nodes), tables(tmp_path / "mixed", nodes + others)
    figures_of = [draw("figure1", both) for both in (alone, mixed)]
    drawn, expected = (lines(figure.axes[0])["SNR"].get_xydata() for figure in figures_of)
    assert drawn[1:].tolist() == expected[1:].tolist()  # the dense network of seed 1 is theirs too
    with pytest.raises(figures.NothingToShow, match="There is no pruned trunk"):
        figures.plan("figure1", [metrics["node"] for metrics in others], {})


def test_curricula_and_rewinds_are_never_mixed(tmp_path):
    nodes = [
        *synthetic.study(seeds=(0,), levels=2),
        *synthetic.study(seeds=(0, 1), levels=3, curriculum="low"),
        *synthetic.study(models=("vgg11",), seeds=(0,), levels=2, curriculum="warm"),
        synthetic.metrics(1, inference="deterministic", scorer="magnitude", rewind="lrr"),
    ]
    mixed = tables(tmp_path, nodes)
    figure = draw("figure1", mixed)
    words = "curriculum low (resnet20), warm (vgg11), rewind imp, 1 to 2 seeds"
    assert words in said(figure)
    assert len(lines(figure.axes[0])["SNR"].get_xdata()) == 4
    assert len(lines(figure.axes[1])["SNR"].get_xdata()) == 3

    figure = draw("figure1", mixed, curriculum="paper")
    assert [panel.get_title() for panel in figure.axes] == ["resnet20", ""]
    assert len(lines(figure.axes[0])["SNR"].get_xdata()) == 3
    figure = draw("figure1", mixed, curriculum="paper", rewind="lrr")
    assert set(lines(figure.axes[0])) == {"magnitude"}


def line_of(runs, value="peak_accuracy", **where) -> tuple:
    """Weights remaining and the mean of `value`, both in per cent, at the last level of `where`."""
    runs = results.shown(runs)
    for name, wanted in where.items():
        runs = runs[runs[name].isna() if wanted is None else (runs[name] == wanted).fillna(False)]
    last = runs[runs["level"] == runs["level"].max()]
    return 100 * last["density"].iloc[0], 100 * last[value].mean()


def ends(line) -> tuple:
    return line.get_xdata()[-1], line.get_ydata()[-1]


def test_figure4_sets_randomisations_beside_the_ticket(whole):
    figure = draw("figure4", whole)
    rows = [figure.axes[:2], figure.axes[2:]]
    assert [panel.get_title() for panel in rows[0]] == ["resnet20", "vit_tiny"]
    for (panel, _), inference, scorer in zip(
        rows, ("deterministic", "bayesian"), ("magnitude", "snr"), strict=True
    ):
        assert panel.get_ylabel().lower() == f"{inference}\ntest accuracy (%)"
        assert set(lines(panel)) == {"ticket", "reinit", "layerwise", "even", "global"}
        assert len(dashed(panel)) == 1
        where = {"model": "resnet20", "scorer": scorer, "curriculum": "paper", "rewind": "imp"}
        for label, branch in {"ticket": None, "reinit": "reinit", "even": "shuffle_even"}.items():
            expected = line_of(whole["runs"], branch=branch, **where)
            assert ends(lines(panel)[label]) == pytest.approx(expected)
        assert lines(panel)["ticket"].get_xdata()[0] == 100  # the dense network starts the ticket
    assert "2 seeds, 2 replicates of each branch" in said(figure)


def test_figure4_leaves_out_a_row_without_branches(tmp_path):
    nodes = [
        *synthetic.study(seeds=(0,), levels=3),
        *(n for n in synthetic.branches(seeds=(0,), levels=[3]) if n["node"]["scorer"] == "snr"),
    ]
    figure = draw("figure4", tables(tmp_path, nodes))
    assert [panel.get_ylabel() for panel in figure.axes] == ["Bayesian\ntest accuracy (%)"]
    assert list(lines(figure.axes[0])["reinit"].get_xdata()) == [pytest.approx(51.2, abs=0.1)]


@pytest.mark.parametrize(
    ("name", "metrics"),
    [("figure5", {"accuracy": 100}), ("figure9", {"mace": 1, "ece": 1})],
)
def test_transplants_are_bayesian_networks_of_deterministic_trunks(whole, name, metrics):
    figure = draw(name, whole)
    assert len(figure.axes) == 2 * len(metrics)
    for panel, (metric, factor) in zip(figure.axes[::2], metrics.items(), strict=True):
        assert metric in panel.get_ylabel().lower()
        assert set(lines(panel)) == {"determ.", "Bayesian", "transpl.", "trained"}
        assert len(dashed(panel)) == 2
        where = {"model": "resnet20", "curriculum": "paper", "rewind": "imp"}
        for label, own in {
            "determ.": {"scorer": "magnitude", "branch": None},
            "Bayesian": {"scorer": "snr", "branch": None},
            "transpl.": {"branch": "transplant_initial"},
        }.items():
            x, y = line_of(whole["runs"], f"peak_{metric}", **where, **own)
            assert ends(lines(panel)[label]) == pytest.approx((x, y * factor / 100))


def test_figure6_compares_the_models_of_a_family(whole):
    figure = draw("figure6", whole)
    assert figure.axes[0].get_title() == "resnet"
    assert len(figure.axes) == 4  # two kinds of inference, against share and number
    for panel in figure.axes:
        assert list(lines(panel)) == ["resnet20", "resnet110"]
        assert len(dashed(panel)) == 2
    dense = whole["runs"].query("model == 'resnet110' and level == 0")
    for panel, x in zip(figure.axes, (100, 100, *[dense["survivors"].iloc[0]] * 2), strict=True):
        assert lines(panel)["resnet110"].get_xdata()[0] == x
    with pytest.raises(NothingToShow, match="no two models of a family, only resnet20"):
        draw("figure6", whole, models=["resnet20", "vit_tiny"])


def test_figure7_draws_a_line_a_curriculum(whole):
    figure = draw("figure7", whole, scorer="mu")
    assert [panel.get_title() for panel in figure.axes[:2]] == ["resnet20", "vit_tiny"]
    for panel in figure.axes:
        assert set(lines(panel)) == {"low", "paper"}
    expected = line_of(whole["runs"], model="resnet20", scorer="mu", curriculum="low")
    assert ends(lines(figure.axes[2])["low"]) == pytest.approx(expected)
    assert "curriculum" not in said(figure)


def test_figure8_draws_a_line_a_rewind(whole):
    panel = draw("figure8", whole).axes[0]
    assert set(lines(panel)) == {"det. IMP", "det. LRR", "Bay. IMP", "Bay. LRR"}
    expected = line_of(whole["runs"], model="resnet20", scorer="snr", rewind="lrr")
    assert ends(lines(panel)["Bay. LRR"]) == pytest.approx(expected)


def test_figure3_draws_the_masks_of_the_run(whole, files):
    plan = figures.plan("figure3", results.nodes(whole["runs"]), {})
    assert list(plan.masks) == [
        "ticket", "reinit", "shuffle_layerwise", "shuffle_even", "shuffle_global"
    ]  # fmt: skip
    ticket, *branches = plan.masks.values()
    assert ticket["branch"] is ticket["replicate"] is None
    assert {**ticket, "branch": "reinit", "replicate": 0} == branches[0]
    assert (ticket["scorer"], ticket["level"]) == ("magnitude", 3)

    figure = draw("figure3", whole, files)
    kept = torch_masks.load_arrays(files["shuffle_even"])["first.weight"].reshape(8, 36)
    pictures = [axes for axes in figure.axes if axes.images]
    assert len(pictures) == 5
    drawn = pictures[3].images[0].get_array()
    np.testing.assert_array_equal(drawn.mask, ~kept)
    assert pictures[3].get_title(loc="left") == f"mask shuffled evenly, {kept.sum()} of 288 kept"
    bars = [axes for axes in figure.axes if len(axes.patches) == 3]
    assert [patch.get_height() for patch in bars[3].patches] == pytest.approx([40] * 3, abs=2)
    assert bars[0].patches[0].get_height() > bars[0].patches[2].get_height()

    (other,) = {
        panel.get_title(loc="left")
        for panel in draw("figure3", whole, files, layer="stem.weight").axes
        if panel.get_title(loc="left").startswith("ticket")
    }
    assert other.endswith("of 36 kept")


def test_figure3_refuses_what_it_cannot_read(whole, files, tmp_path):
    with pytest.raises(InputError, match="'initial' is not given"):
        draw("figure3", whole, {name: path for name, path in files.items() if name != "initial"})
    with pytest.raises(InputError, match="absent: no such file"):
        draw("figure3", whole, {**files, "ticket": tmp_path / "absent"})
    with pytest.raises(InputError, match="not a mask file"):
        draw("figure3", whole, {**files, "ticket": files["initial"]})
    (tmp_path / "cut").write_bytes(files["ticket"].read_bytes()[:20])
    with pytest.raises(InputError, match="cut: truncated"):
        draw("figure3", whole, {**files, "ticket": tmp_path / "cut"})
    with pytest.raises(InputError, match=r"'nosuch' is not known; choose from first\.weight"):
        draw("figure3", whole, files, layer="nosuch")
    with pytest.raises(NothingToShow, match="level 9 was shuffled; there is 1, 2, 3, 4, 5, 6"):
        draw("figure3", whole, files, level=9)


def test_masks_are_read_as_torch_reads_them(files):
    for name in ("ticket", "shuffle_global"):
        ours, theirs = torch_masks.load_arrays(files[name]), torch_masks.load(files[name])
        assert list(ours) == list(theirs)
        assert all(np.array_equal(ours[layer], theirs[layer].numpy()) for layer in ours)


def test_table1_averages_no_two_devices(tmp_path):
    def node(level, seconds, device="A100", **coordinates):
        made = synthetic.metrics(level, device=device, **coordinates)
        made["cost"]["seconds"] = seconds
        return made

    deterministic = {"inference": "deterministic", "scorer": "magnitude"}
    nodes = [
        *(node(level, 60 + 6 * level, **deterministic) for level in range(3)),
        *(node(level, 180.0) for level in range(3)),
        node(2, 150.0, branch="transplant_initial", replicate=0, **deterministic),
        node(2, 999.0, branch="reinit", replicate=0, **deterministic),
        node(0, 600.0, "H100", model="vgg11"),
        node(0, 60.0, model="vgg11", **deterministic),
    ]
    sheet = draw("table1", tables(tmp_path, nodes))
    table = sheet.table.set_index(["model", "device"])
    row = table.loc[("resnet20", "A100")]
    assert (row["deterministic"], row["deterministic_n"]) == (pytest.approx(1.1), 3)
    assert row["deterministic_sd"] == pytest.approx(0.1)
    assert (row["bayesian"], row["transplanted"]) == (pytest.approx(3), pytest.approx(2.5))
    assert row["ratio"] == pytest.approx((3 / 1 + 3 / 1.1 + 3 / 1.2) / 3)
    assert row["saving"] == pytest.approx(100 * (1 - (1 + 1.1 + 2.5) / 9))
    assert len(table.loc["vgg11"]) == 2
    assert table.loc["vgg11"]["ratio"].isna().all()

    page, csv = tmp_path / "table1.html", tmp_path / "table1.csv"
    figures.save(sheet, page)
    figures.save(sheet, csv)
    assert "<td>1.10 ± 0.10<small>n = 3</small></td>" in page.read_text()
    assert pd.read_csv(csv)["saving_n"].sum() == 1


def tables_of(tables: dict, change) -> dict:
    return {name: change(table) for name, table in tables.items()}


def missing(name, nodes, options):
    """Why `nodes` cannot feed the figure; None if they can."""
    try:
        figures.plan(name, nodes, options)
    except NothingToShow as reason:
        return str(reason)


@pytest.mark.parametrize("name", figures.FIGURES)
def test_what_cannot_be_shown_is_known_before_it_is_drawn(whole, study, tmp_path, name):
    alone = tables(tmp_path, synthetic.study(inferences=("bayesian",), seeds=(0,), levels=2))
    for part in (
        tables_of(whole, lambda table: table[table["level"] == 0]),
        tables_of(study, lambda table: table[table["branch"].isna()]),
        alone,
    ):
        reason = missing(name, results.nodes(part["runs"]), {})
        if reason is None:
            draw(name, part)
        else:
            assert reason.endswith(".") and "\n" not in reason
            with pytest.raises(NothingToShow) as raised:
                draw(name, part)
            assert str(raised.value) == reason
    assert missing(name, results.nodes(whole["runs"]), {}) is None


def test_nothing_to_show_says_why(study, whole, tmp_path):
    def why(name, given=study, **options):
        return missing(name, results.nodes(given["runs"]), options)

    dense = tables_of(study, lambda table: table[table["level"] == 0])
    assert "only dense networks" in why("figure1", dense)
    assert "no branch shuffle_layerwise or" in why("figure3")
    assert "no branch reinit or" in why("figure4")
    assert "no branch transplant_initial or" in why("figure5")
    assert "no trunks that differ in their model alone" in why("figure6")
    assert "no trunks that differ in their curriculum alone" in why("figure7")
    assert "no trunks that differ in their rewind alone" in why("figure8")
    assert "both" in why("table1", tables_of(study, lambda t: t[t["inference"] == "bayesian"]))
    for name in DRAWN:
        reason = why(name, whole, dataset="cifar10")
        assert "nothing to show of dataset cifar10; there is dataset digits" in reason
    assert "levels 9; there is 1, 2, 3, 4, 5, 6." in why("figure2", levels=[9])
    for name in ("figure2", "figure4", "figure5", "figure6", "figure7", "figure8"):
        assert "scorer nosuch; there is" in why(name, whole, scorer="nosuch")
    unsplit = tables(tmp_path, [synthetic.metrics(level, selected=False) for level in (0, 1)])
    with pytest.raises(NothingToShow, match="chosen on validation"):
        draw("figure1", unsplit, statistic="selected")


def test_another_metric_may_stand_above_mace(study):
    runs = study["runs"].assign(peak_auc=study["runs"]["peak_accuracy"], passes_sd_auc=0.0)
    figure = draw("figure1", {**study, "runs": runs}, metric="auc")
    assert figure.axes[0].get_ylabel() == "Test AUC" and figure.axes[0].get_ylim()[0] > 0
    with pytest.raises(NothingToShow, match="No run in the table has test AUC"):
        draw("figure1", study, metric="auc")
    with pytest.raises(InputError, match="metric: 'mace' is not known"):
        draw("figure1", study, metric="mace")


def test_wrong_requests_are_refused(study):
    with pytest.raises(InputError, match="figure1, figure10, figure11"):
        draw("figure0", study)
    with pytest.raises(InputError, match="needs the table of layers"):
        draw("figure2", {"runs": study["runs"]})
    with pytest.raises(InputError, match="'best' is not known; choose from final, peak, selected"):
        draw("figure1", study, statistic="best")
    for name in figures.FIGURES:
        with pytest.raises(InputError, match="colour"):
            draw(name, study, colour="red")
    with pytest.raises(InputError, match="not a list"):
        draw("figure1", study, models="vit_tiny")
    with pytest.raises(InputError, match="absent"):
        style.applied("absent.mplstyle")


@pytest.mark.parametrize("name", DRAWN)
def test_no_text_overlaps_or_leaves_the_figure(whole, files, name):
    figure = draw(name, whole, files)
    with style.applied(STYLE):
        figure.draw_without_rendering()
    width, height = figure.bbox.size
    for axes in figure.axes:
        # Text's own method: an annotation's includes its hairline.
        boxes = [Text.get_window_extent(text) for text in axes.texts]
        low, high = sorted(axes.get_xlim())
        ticks = [
            label.get_window_extent()
            for label in axes.get_xticklabels()
            if label.get_text() and low <= label.get_position()[0] <= high
        ]
        labels = [axes.xaxis.label, axes.yaxis.label]
        sides = [label.get_window_extent() for label in labels if label.get_text()]
        for box in [*boxes, *ticks, *sides]:
            assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height
        for group in (boxes, ticks):
            for index, box in enumerate(group):
                assert not any(box.shrunk(1, 0.9).overlaps(other) for other in group[:index])


def test_styles_differ_and_unknown_names_get_one():
    scorers = style.lines(["square", "magnitude", "snr", "mu", "novel"])
    assert list(scorers) == ["magnitude", "snr", "mu", "square", "novel"]
    assert len({line.color for line in scorers.values()}) == 5
    randomised = style.lines(["ticket", "reinit", *figures.plans.ABLATIONS])
    for kind in ("color", "marker"):
        assert len({getattr(line, kind) for line in randomised.values()}) == len(randomised)


@given(
    st.lists(st.floats(-50, 150), min_size=1, max_size=8),
    st.floats(0, 40),
)
def test_spread_keeps_order_and_distance(positions, gap):
    moved = style.spread(positions, gap, 0, 100)
    assert all(-1e-9 <= value <= 100 + 1e-9 for value in moved)
    ranked = [value for _, value in sorted(zip(positions, moved, strict=True))]
    least = min(gap, 100 / max(len(positions) - 1, 1))
    assert all(b - a >= least - 1e-9 for a, b in itertools.pairwise(ranked))


def test_spread_moves_no_more_than_needed():
    assert style.spread([10, 50, 90], 20, 0, 100) == [10, 50, 90]
    assert style.spread([50, 50], 20, 0, 100) == [40, 60]
    assert style.spread([98, 99, 10], 20, 0, 100) == [80, 100, 10]
    assert style.spread([], 20, 0, 100) == []


def test_plot_script_gives_the_same_bytes_twice(whole, files, tmp_path):
    for name, table in whole.items():
        results.write(table, tmp_path / f"{name}.parquet", tmp_path / f"{name}.csv")

    def run(folder: str, figure: str, options: dict, hash_seed: str, files=(), formats=None):
        formats = formats or figures.FIGURES[figure].formats
        out = [tmp_path / folder / f"{figure}.{kind}" for kind in formats]
        command = [
            sys.executable, ROOT / "scripts/plot.py", "--figure", figure,
            "--runs", tmp_path / "runs.parquet", "--layers", tmp_path / "layers.parquet",
            "--options", json.dumps(options), "--style", STYLE, "--out", *out,
            *(word for name in files for word in ("--file", f"{name}={files[name]}")),
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return out, subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True
        )

    for figure, masks_of in {"figure1": {}, "figure3": files, "table1": {}}.items():
        first, one = run("a", figure, {}, "1", masks_of)
        second, two = run("b", figure, {}, "2", masks_of)
        assert (one.returncode, two.returncode, one.stderr) == (0, 0, "")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert (tmp_path / "a/figure1.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a/figure1.pdf").read_bytes().startswith(b"%PDF")

    out, failed = run("c", "figure1", {"dataset": "cifar10"}, "1")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: There is nothing to show of dataset cifar10")
    assert not any(path.exists() for path in out)
    _, failed = run("c", "table1", {}, "1", formats=["png"])
    assert "table1.png is none of html, csv" in failed.stderr


def test_a_users_matplotlibrc_has_no_say():
    with matplotlib.style.context({"font.size": 30}), style.applied(STYLE):
        assert matplotlib.rcParams["font.size"] == 8


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("config", ["config.yaml", "cifar10.yaml"])
@pytest.mark.parametrize("caption", [*figures.FIGURES, "runs", "workflow"])
def test_captions_render(caption, config, statistic):
    options = {"figure1": {"statistic": statistic}, "figure2": {"levels": [2]}}
    settings = yaml.safe_load((ROOT / "config" / config).read_text()) | {"figures": options}
    validate(settings, str(ROOT / "workflow/schemas/config.schema.yaml"))  # fills in the defaults
    # As snakemake.report does it, but strict about what is undefined.
    template = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = template.from_string((ROOT / "workflow/report" / f"{caption}.rst").read_text()).render(
        snakemake=SimpleNamespace(
            config=settings, params=SimpleNamespace(shown="digits, rewind imp, 3 seeds")
        )
    )
    warnings = {"halt_level": 2, "report_level": 2}  # a warning of docutils is an error here
    html = publish_parts(text, writer="html", settings_overrides=warnings)["html_body"]
    assert "{{" not in html
    if caption in figures.FIGURES:
        assert "3 seeds" in html
    if caption == "figure1":
        assert ("optimistic" in html) == (statistic == "peak")


def test_every_branch_is_in_a_figure():
    assert {*figures.plans.ABLATIONS, *figures.plans.TRANSPLANTS} == set(BRANCHES)


def test_the_schema_knows_every_option():
    schema = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
    described = schema["properties"]["figures"]["properties"]
    assert list(described) == list(figures.FIGURES)
    for name, figure in described.items():
        with pytest.raises(InputError) as raised:
            figures.plan(name, [], {"nosuch": 1})
        known = str(raised.value).partition("choose from ")[2].rstrip(".").split(", ")
        assert sorted(figure.get("properties", {})) == [word for word in known if word]
