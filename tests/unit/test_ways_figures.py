"""Figures 10 and 11: which ways to a ticket they show, and what each costs."""

import pytest
import synthetic
from drawn import draw, lines, said

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import figures, results
from bayesian_lottery.findings.figures import NothingToShow

pytestmark = pytest.mark.slow

MAIN = [*synthetic.study(levels=18, seeds=(0, 1))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    late = synthetic.study(levels=18, seeds=(0, 1), rewind="late")
    main = {"magnitude", "snr"}
    nodes = [*MAIN, *synthetic.ways(levels=18)]
    nodes += [node for node in late if node["node"]["scorer"] in main]
    return results.tables(synthetic.write(tmp_path_factory.mktemp("ways"), nodes)).runs


def test_a_way_is_named_by_its_search_and_what_is_not_usual(runs):
    figure = draw("figure10", {"runs": runs})
    deterministic, bayesian = figure.axes
    shared = {"iterative", "iterative late", "one_shot", "early", "dynamic", "gradual"}
    shared |= {f"at_init {scorer}" for scorer in ("random", "snip", "synflow")}
    assert set(lines(deterministic)) == shared
    assert set(lines(bayesian)) == shared | {"iterative mu", "iterative square"}
    assert "iterative snr" in lines(draw("figure10", {"runs": runs}, scorer="mu").axes[1])
    own = runs.query("inference == 'bayesian' and search == 'one_shot' and level == 18")
    line = lines(bayesian)["one_shot"]
    assert line.get_xdata()[0] == 100  # from the dense network
    assert line.get_ydata()[-1] == pytest.approx(100 * own["peak_accuracy"].mean())
    assert lines(deterministic)["early"].get_color() == lines(bayesian)["early"].get_color()


def test_points_are_of_what_each_way_costs(runs):
    figure = draw("figure11", {"runs": runs}, densities=[0.1], models=["resnet20"])
    bayesian = figure.axes[1]
    own = runs.query("inference == 'bayesian'")  # level 10 has a density of 0.8^10, 0.107
    drawn = {bars.get_label(): bars.lines[0].get_xydata()[0] for bars in bayesian.containers}
    minutes = {
        "iterative": own.query("search.isna() or search == 'iterative'").query(
            "level <= 10 and (scorer.isna() or scorer == 'snr') and not rewind == 'late'"
        ),
        "one_shot": own.query("level == 0 or (search == 'one_shot' and level == 10)"),
        "dynamic": own.query("search == 'dynamic' and level == 10"),
    }
    for name, trainings in minutes.items():
        assert drawn[name][0] == pytest.approx(trainings["seconds"].sum() / 2 / 60)
    ticket = own.query("search == 'dynamic' and level == 10")
    assert drawn["dynamic"][1] == pytest.approx(100 * ticket["peak_accuracy"].mean())
    (frontier,) = [line for line in bayesian.lines if line.get_label() == "_frontier"]
    heights = list(frontier.get_ydata())
    assert heights == sorted(heights) and heights[-1] == max(y for _, y in drawn.values())
    assert min(x for x, _ in drawn.values()) == frontier.get_xdata()[0]


def test_searches_with_names_of_their_own_cost_what_their_kind_does(runs):
    renamed = runs.assign(search=runs["search"].replace({"dynamic": "rigl"}))
    named = draw(
        "figure11", {"runs": renamed}, kinds={"search": {"rigl": "dynamic"}}, densities=[0.1]
    )
    given = draw("figure11", {"runs": runs}, densities=[0.1])

    def point(figure, name):
        (bars,) = [bars for bars in figure.axes[0].containers if bars.get_label() == name]
        return bars.lines[0].get_xydata().tolist()

    assert point(named, "rigl") == point(given, "dynamic")
    with pytest.raises(InputError, match="'rigl' is not known; choose from"):
        draw("figure11", {"runs": renamed})


def test_densities_that_no_level_is_near_are_said_to_be_missing(runs):
    figure = draw("figure11", {"runs": runs[runs["level"] <= 12]}, densities=[0.1, 0.01])
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == [
        "no ticket of about 1 %"
    ] * 2
    with pytest.raises(InputError, match="densities: 2 must be a number above 0 and below 1"):
        draw("figure11", {"runs": runs}, densities=[2])


def test_seconds_of_another_device_are_left_out(runs):
    elsewhere = (runs["seed"] == 1) & (runs["search"] == "one_shot").fillna(False)
    mixed = draw("figure11", {"runs": runs.assign(device=runs["device"].mask(elsewhere, "H100"))})
    assert "on cpu" in said(mixed)


@pytest.mark.parametrize("name", ["figure10", "figure11"])
def test_a_study_of_one_search_has_one_way(name):
    nodes = [metrics["node"] for metrics in MAIN]
    nodes += [{**node, "rewind": "lrr"} for node in nodes if node["level"]]
    with pytest.raises(NothingToShow, match="No model has several ways to a ticket, only iterat"):
        figures.plan(name, nodes, {})
