"""Figures 1, 2, 6, 7 and 8: what they draw of trunks."""

import pytest
import synthetic
from drawn import dashed, draw, ends, line_of, lines, said, tables
from matplotlib.colors import to_hex

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import figures
from bayesian_lottery.findings.figures import NothingToShow, style
from bayesian_lottery.study.node_metrics import STATISTICS

pytestmark = pytest.mark.slow


def test_figure1_draws_a_line_a_scorer(trunks):
    figure = draw("figure1", trunks)
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

    row = trunks["runs"].query("model == 'resnet20' and scorer == 'snr' and level == 6")
    line = lines(accuracy)["SNR"]
    assert line.get_xdata()[0] == 100
    assert line.get_xdata()[-1] == pytest.approx(100 * row["density"].iloc[0])
    assert line.get_ydata()[-1] == pytest.approx(100 * row["peak_accuracy"].mean())
    dense = trunks["runs"].query("model == 'resnet20' and inference == 'bayesian' and level == 0")
    assert line.get_ydata()[0] == pytest.approx(100 * dense["peak_accuracy"].mean())
    assert line.get_ydata()[0] in [reference.get_ydata()[0] for reference in dashed(accuracy)]
    assert "2 seeds" in said(figure)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_figure1_shows_the_statistic_asked_for(trunks, statistic):
    figure = draw("figure1", trunks, statistic=statistic, models=["vit_tiny"])
    assert len(figure.axes) == 2
    runs = trunks["runs"].query("model == 'vit_tiny' and scorer == 'mu' and level == 6")
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


def test_another_metric_may_stand_above_mace(trunks):
    runs = trunks["runs"].assign(peak_auc=trunks["runs"]["peak_accuracy"], passes_sd_auc=0.0)
    figure = draw("figure1", {**trunks, "runs": runs}, metric="auc")
    assert figure.axes[0].get_ylabel() == "Test AUC" and figure.axes[0].get_ylim()[0] > 0
    with pytest.raises(NothingToShow, match="No run in the table has test AUC"):
        draw("figure1", trunks, metric="auc")
    with pytest.raises(InputError, match="metric: 'mace' is not known"):
        draw("figure1", trunks, metric="mace")


def test_figure2_pairs_lines_by_level(trunks):
    figure = draw("figure2", trunks, levels=[2, 6])
    panel = figure.axes[0]
    assert set(lines(panel)) == {
        f"{scorer}, level {level}" for scorer in ("magnitude", "SNR") for level in (2, 6)
    }
    line = lines(panel)["SNR, level 6"]
    assert list(line.get_xdata()) == list(range(1, synthetic.LAYERS["resnet20"] + 1))
    rows = trunks["layers"].query("model == 'resnet20' and level == 6")
    fourth = rows.query("scorer == 'snr' and layer == 4")
    assert line.get_ydata()[3] == pytest.approx(100 * (1 - fourth["density"].mean()))
    # Light to dark.
    pale, dark = (to_hex(lines(panel)[f"SNR, level {level}"].get_color()) for level in (2, 6))
    assert dark == to_hex(style.BLUE) and pale > dark
    last = rows.query("scorer == 'snr'")
    remaining = 100 * last["survivors"].sum() / last["size"].sum()
    assert f"{remaining:.3g} %" in [text.get_text() for text in panel.texts]


def test_figure2_chooses_levels_and_scorer(trunks):
    default = lines(draw("figure2", trunks).axes[0])
    assert {label.rsplit()[-1] for label in default} == {"6", "3", "2", "1"}
    assert any(
        label.startswith("mu,") for label in lines(draw("figure2", trunks, scorer="mu").axes[0])
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
