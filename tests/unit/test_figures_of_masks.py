"""Figures 12 and 13: how masks settle, and what they have in common."""

import pytest
from drawn import draw, lines

pytestmark = pytest.mark.slow

NEAR = {"models": ["resnet20"], "densities": [0.5]}  # level 3


def words(figure) -> list[str]:
    return [text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts]


def test_figure12_draws_a_line_a_seed_and_marks_the_mask_that_is_drawn(whole):
    figure = draw("figure12", whole, models=["resnet20"], levels=[2, 6])
    assert [text.get_text() for text in figure.legends[0].texts] == ["level 2", "level 6"]
    deterministic, _ = figure.axes
    moved = [line for line in deterministic.lines if line.get_linestyle() != "None"]
    marks = [line for line in deterministic.lines if line.get_linestyle() == "None"]
    assert len(moved) == len(marks) == 2 * 2  # levels, seeds
    table = whole["distances"].query("model == 'resnet20' and inference == 'deterministic'")
    drawn = table[table["drawn"] & table["level"].isin([2, 6])]
    assert sorted(mark.get_xdata()[0] for mark in marks) == sorted(drawn["epoch"])
    own = table.query("seed == 0 and level == 2").dropna(subset="distance")
    assert moved[0].get_ydata().tolist() == pytest.approx((100 * own["distance"]).tolist())


def test_figure12_says_where_nothing_was_watched(whole):
    distances = whole["distances"].query("inference != 'bayesian'")
    figure = draw("figure12", {**whole, "distances": distances}, models=["resnet20"])
    assert words(figure) == ["no network was watched"]


def test_figure13_draws_jaccard_beyond_chance_layer_by_layer(whole):
    deterministic, bayesian = draw("figure13", whole, **NEAR).axes
    assert {"one_shot", "early", "another seed", "another inference"} <= set(lines(deterministic))
    assert {"iterative mu", "iterative square"} <= set(lines(bayesian)) - set(lines(deterministic))
    table = whole["overlaps"].query(
        "model == 'resnet20' and inference == 'bayesian' and level == 3"
    )
    own = table[(table["search"] == "one_shot") & (table["compared"] == "way")]
    expected = own.groupby("layer")["beyond"].mean()
    line = lines(bayesian)["one_shot"]
    assert line.get_xdata().tolist() == expected.index.tolist()
    assert line.get_ydata().tolist() == pytest.approx(expected.tolist())
    assert max(axes.get_ylim()[1] for axes in (deterministic, bayesian)) <= 1.02


def test_empty_panels_of_figure13_say_why(whole):
    options = {**NEAR, "densities": [0.5, 0.01]}
    assert words(draw("figure13", whole, **options)) == ["no ticket of about 1 %"] * 2
    runs = whole["runs"]
    papers = (runs["inference"] == "bayesian") & (runs["search"] == "iterative").fillna(False)
    lacking = {**whole, "runs": runs[~papers]}
    assert words(draw("figure13", lacking, **NEAR)) == ["no search iterative to compare with"]
    alone = {**whole, "overlaps": whole["overlaps"].query("inference != 'bayesian'")}
    assert words(draw("figure13", alone, **NEAR)) == ["no masks to compare"]
    nothing = draw("figure13", whole, models=["resnet20"])
    assert len(words(nothing)) == len(nothing.axes) == 4 and not nothing.legends
