"""The look that figures share: no text over another, styles, labels at line ends."""

import itertools

import matplotlib.style
import pytest
from drawn import STYLE, draw
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from bayesian_lottery.findings import figures
from bayesian_lottery.findings.figures import style

pytestmark = pytest.mark.slow


DRAWN = [name for name, figure in figures.FIGURES.items() if "png" in figure.formats]
# Of figures with a panel for each density: none is about as dense as shown unasked, and these are.
ONE = {"models": ["resnet20"]}
UNUSUAL = {"figure11": ONE, "figure13": ONE}
NEAR = {**ONE, "densities": [0.5, 0.3]}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, UNUSUAL.get(name, {})) for name in DRAWN),
        *((name, NEAR) for name in ("figure11", "figure13", "figure15")),
    ],
)
def test_no_text_overlaps_or_leaves_the_figure(whole, files, name, options):
    figure = draw(name, whole, files, **options)
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
        titles = [axes.title, axes._right_title]
        boxes += [title.get_window_extent() for title in titles if title.get_text()]
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


def test_a_users_matplotlibrc_has_no_say():
    with matplotlib.style.context({"font.size": 30}), style.applied(STYLE):
        assert matplotlib.rcParams["font.size"] == 8
