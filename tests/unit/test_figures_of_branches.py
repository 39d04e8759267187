"""Figures 3, 4, 5 and 9: what they draw of branches and of their masks."""

import numpy as np
import pytest
import synthetic
from drawn import dashed, draw, ends, line_of, lines, said, tables
from six_trunks import configuration

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import figures, results
from bayesian_lottery.findings.figures import NothingToShow
from bayesian_lottery.findings.figures.files import folders, shown_files
from bayesian_lottery.tickets import masks as torch_masks

pytestmark = pytest.mark.slow


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


def test_figures_are_planned_of_the_tickets_chosen():
    config = configuration()
    config["trunks"][0]["ranking"] = ["global", "layerwise"]
    config["tickets"] = {"ranking": "layerwise"}
    config["branches"] = [
        {"branch": "shuffle_even", "inference": "deterministic", "levels": [2], "replicates": 1}
    ]
    nodes = [node.coordinates() for node in study.nodes(config)]
    plan = figures.plan("figure3", nodes, figures.options_of("figure3", config))
    trunk = "deterministic/short/seed0/magnitude_imp_layerwise"
    wanted = [f"runs/digits/lenet5/{trunk}/level02{end}" for end in ("", "/shuffle_even_0")]
    assert [*folders(plan).values()] == wanted
    assert f"/{trunk}/level01/" in shown_files(plan, config)["ticket"]

    others = [node for node in nodes if not (node["branch"] and "ranking" in node)]
    for name in ("figure3", "figure4"):
        with pytest.raises(NothingToShow, match="no branch"):
            figures.plan(name, others, figures.options_of(name, config))


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
