"""The figures: what they draw, what they refuse, and that the same table gives the same bytes."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.style
import pytest
import synthetic
import yaml
from docutils.core import publish_parts
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, StrictUndefined
from matplotlib.colors import to_hex
from matplotlib.text import Text

from bayesian_lottery import figures, results
from bayesian_lottery.errors import InputError
from bayesian_lottery.figures import NothingToShow, style

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "config/figures.mplstyle"


def tables(folder: Path, nodes) -> dict:
    runs, layers = results.tables(synthetic.write(folder, nodes))
    return {"runs": runs, "layers": layers}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    nodes = synthetic.study(models=("resnet20", "vit_tiny"), seeds=(0, 1), levels=6)
    return tables(tmp_path_factory.mktemp("study"), nodes)


def draw(name: str, tables: dict, **options):
    with style.applied(STYLE):
        return figures.draw(name, tables, options)


def lines(axes) -> dict:
    """The labelled lines of a panel: matplotlib names the others with an underscore."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def dashed(axes) -> list:
    return [line for line in axes.lines if line.get_label().startswith("_")]


def test_the_registry_imports_neither_torch_nor_matplotlib():
    code = (
        "import sys, bayesian_lottery.figures as f; assert f.FIGURES; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'pandas')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawing_imports_neither_torch_nor_pyplot():
    modules = ", ".join(f"bayesian_lottery.figures.{f.module}" for f in figures.FIGURES.values())
    code = (
        f"import sys, {modules}; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib.pyplot')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_figure1_draws_a_line_a_scorer(study):
    figure = draw("figure1", study)
    (accuracy, *_), (mace, *_) = axes = [figure.axes[:2], figure.axes[2:]]
    assert [panel.get_title() for panel in axes[0]] == ["resnet20", "vit_tiny"]
    assert accuracy.get_ylabel() == "Test accuracy (%),\nbest epoch on test images"
    assert mace.get_ylabel().startswith("Test MACE")
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
    assert "2 seeds" in figure.get_suptitle()


@pytest.mark.parametrize("statistic", results.STATISTICS)
def test_figure1_shows_the_statistic_asked_for(study, statistic):
    figure = draw("figure1", study, statistic=statistic, models=["vit_tiny"])
    assert len(figure.axes) == 2
    runs = study["runs"].query("model == 'vit_tiny' and scorer == 'mu' and level == 6")
    drawn = lines(figure.axes[0])["mu"].get_ydata()[-1]
    assert drawn == pytest.approx(100 * runs[f"{statistic}_accuracy"].mean())
    words = {"peak": "on test", "final": "last epoch", "selected": "on validation"}[statistic]
    assert words in figure.axes[0].get_ylabel()


@pytest.mark.parametrize("inference", synthetic.SCORERS)
def test_one_kind_of_inference_is_enough(tmp_path, inference):
    alone = tables(tmp_path, synthetic.study(inferences=(inference,), seeds=(0,), levels=2))
    figure = draw("figure1", alone)
    assert len(lines(figure.axes[0])) == len(synthetic.SCORERS[inference])
    assert len(dashed(figure.axes[0])) == 1
    assert "1 seed;" in figure.get_suptitle().replace("\n", " ")
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
    pair = rows[rows["scorer"].isin(["magnitude", "snr"])]
    remaining = 100 * pair["survivors"].sum() / pair["size"].sum()
    assert f"{remaining:.3g} %" in [text.get_text() for text in panel.texts]


def test_figure2_chooses_levels_and_scorer(study):
    default = lines(draw("figure2", study).axes[0])
    assert {label.rsplit()[-1] for label in default} == {"6", "3", "2", "1"}
    assert any(
        label.startswith("mu,") for label in lines(draw("figure2", study, scorer="mu").axes[0])
    )


def test_curricula_and_rewinds_are_never_mixed(tmp_path):
    nodes = [
        *synthetic.study(seeds=(0,), levels=2),
        *synthetic.study(seeds=(0, 1), levels=3, curriculum="low"),
        *synthetic.study(models=("vgg11",), seeds=(0,), levels=2, curriculum="warm"),
        synthetic.metrics(1, inference="deterministic", scorer="magnitude", rewind="lrr"),
    ]
    mixed = tables(tmp_path, nodes)
    figure = draw("figure1", mixed)
    said = figure.get_suptitle().replace("\n", " ")
    assert "curriculum low (resnet20), warm (vgg11), rewind imp, 1 to 2 seeds" in said
    assert len(lines(figure.axes[0])["SNR"].get_xdata()) == 4
    assert len(lines(figure.axes[1])["SNR"].get_xdata()) == 3

    figure = draw("figure1", mixed, curriculum="paper")
    assert [panel.get_title() for panel in figure.axes] == ["resnet20", ""]
    assert len(lines(figure.axes[0])["SNR"].get_xdata()) == 3
    figure = draw("figure1", mixed, curriculum="paper", rewind="lrr")
    assert set(lines(figure.axes[0])) == {"magnitude"}


def test_nothing_to_show_says_why(study, tmp_path):
    dense = {name: table[table["level"] == 0] for name, table in study.items()}
    for name in figures.FIGURES:
        with pytest.raises(NothingToShow, match="only dense networks"):
            draw(name, dense)
        with pytest.raises(NothingToShow, match=r"no trunk of dataset cifar10; .*dataset digits"):
            draw(name, study, dataset="cifar10")
    with pytest.raises(NothingToShow, match=r"levels 9; it holds 1, 2, 3, 4, 5, 6\."):
        draw("figure2", study, levels=[9])
    with pytest.raises(NothingToShow, match="scorer nosuch; it holds mu, snr, square"):
        draw("figure2", study, scorer="nosuch")
    unsplit = tables(tmp_path, [synthetic.metrics(level, selected=False) for level in (0, 1)])
    with pytest.raises(NothingToShow, match="chosen on validation"):
        draw("figure1", unsplit, statistic="selected")


def test_wrong_requests_are_refused(study):
    with pytest.raises(InputError, match="figure1, figure2"):
        draw("figure0", study)
    with pytest.raises(InputError, match="needs the table of layers"):
        draw("figure2", {"runs": study["runs"]})
    with pytest.raises(InputError, match="'best' is not known; choose from final, peak, selected"):
        draw("figure1", study, statistic="best")
    with pytest.raises(InputError, match="colour"):
        draw("figure1", study, colour="red")
    with pytest.raises(InputError, match="not a list"):
        draw("figure1", study, models="vit_tiny")
    with pytest.raises(InputError, match="absent"):
        style.applied("absent.mplstyle")


@pytest.mark.parametrize("name", figures.FIGURES)
def test_no_text_overlaps_or_leaves_the_figure(study, name):
    figure = draw(name, study)
    with style.applied(STYLE):
        figure.draw_without_rendering()
    width, height = figure.bbox.size
    for axes in figure.axes:
        # Text's own method: an annotation's includes its hairline.
        boxes = [Text.get_window_extent(text) for text in axes.texts]
        ticks = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        for box in [*boxes, *ticks, axes.yaxis.label.get_window_extent()]:
            assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height
        for group in (boxes, ticks):
            for index, box in enumerate(group):
                assert not any(box.shrunk(1, 0.9).overlaps(other) for other in group[:index])


def test_styles_differ_and_unknown_names_get_one():
    scorers = style.lines(["square", "magnitude", "snr", "mu", "novel"])
    assert list(scorers) == ["magnitude", "snr", "mu", "square", "novel"]
    assert len({line.color for line in scorers.values()}) == 5
    assert len({line.marker for line in style.LINES.values()}) == len(style.LINES)


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


def test_plot_script_gives_the_same_bytes_twice(study, tmp_path):
    for name, table in study.items():
        results.write(table, tmp_path / f"{name}.parquet", tmp_path / f"{name}.csv")

    def run(folder: str, figure: str, options: dict, hash_seed: str):
        files = [tmp_path / folder / f"{figure}.{kind}" for kind in ("png", "pdf")]
        command = [
            sys.executable, ROOT / "scripts/plot.py", "--figure", figure,
            "--runs", tmp_path / "runs.parquet", "--layers", tmp_path / "layers.parquet",
            "--options", json.dumps(options), "--style", STYLE,
            "--png", files[0], "--pdf", files[1],
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return files, subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True
        )

    first, one = run("a", "figure1", {}, "1")
    second, two = run("b", "figure1", {}, "2")
    assert (one.returncode, two.returncode, one.stderr) == (0, 0, "")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[0].read_bytes().startswith(b"\x89PNG")
    assert first[1].read_bytes().startswith(b"%PDF")

    (png, pdf), failed = run("c", "figure1", {"dataset": "cifar10"}, "1")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: The table holds no trunk of dataset cifar10")
    assert not png.exists() and not pdf.exists()


def test_a_users_matplotlibrc_has_no_say():
    with matplotlib.style.context({"font.size": 30}), style.applied(STYLE):
        assert matplotlib.rcParams["font.size"] == 8


@pytest.mark.parametrize(
    "options", [{}, {"figure1": {"statistic": "selected"}, "figure2": {"levels": [2]}}]
)
@pytest.mark.parametrize("config", ["config.yaml", "cifar10.yaml"])
@pytest.mark.parametrize("caption", [*figures.FIGURES, "runs", "workflow"])
def test_captions_render(caption, config, options):
    settings = yaml.safe_load((ROOT / "config" / config).read_text()) | {"figures": options}
    # As snakemake.report does it, but strict about what is undefined.
    template = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = template.from_string((ROOT / "workflow/report" / f"{caption}.rst").read_text()).render(
        snakemake=SimpleNamespace(config=settings)
    )
    warnings = {"halt_level": 2, "report_level": 2}  # a warning of docutils is an error here
    html = publish_parts(text, writer="html", settings_overrides=warnings)["html_body"]
    assert "{{" not in html
    if caption == "figure1":
        assert ("optimistic" in html) == (options == {})
