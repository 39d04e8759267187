"""Two tables of results against each other: what differs beyond seeds, and what is only in one."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
import synthetic

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_json
from bayesian_lottery.findings import claims, comparison, exported, published, results
from bayesian_lottery.study import LATER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def made(folder: Path, seeds=(0, 1, 2), change: Callable = lambda node: None) -> Path:
    """The folder of a study's tables, after each node was changed."""
    nodes = list(synthetic.study(seeds=seeds, levels=12))
    for node in nodes:
        change(node)
    for name, table in results.tables(synthetic.write(folder, nodes))._asdict().items():
        results.write(table, folder / f"{name}.parquet", folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("ours"))


def found(first: Path, second: Path, **options) -> tuple[pd.DataFrame, str]:
    sides = comparison.read(first), comparison.read(second)
    nodes = comparison.compare(*sides, "peak")
    return nodes, comparison.page(*sides, nodes, comparison.verdicts(*sides, options), "peak")


def test_a_study_is_the_same_as_itself_in_either_format(ours):
    nodes, page = found(ours, ours / "runs.csv")
    assert set(nodes["finding"]) == {"same"} and set(nodes["pairs"]) == {3}
    assert "150 nodes are in both tables, 0 in a only, 0 in b only" in page
    assert "Of those of both, 0 have another verdict" in page
    assert "lacks" not in page


def test_other_seeds_alone_make_no_difference(ours, tmp_path):
    nodes, page = found(ours, made(tmp_path, seeds=(3, 4, 5, 6)))
    random = nodes[nodes["metric"] != "seconds"]
    assert (random["pairs"] == 0).all() and set(random["seeds_b"]) == {4}
    assert (random["finding"] == "beyond seeds").mean() < 0.01
    assert (random["finding"] == "within seeds").sum() > 100
    assert "0 nodes are in both tables, 150 in a only, 200 in b only" in page


def test_what_differs_beyond_seeds_is_found_and_nothing_else(ours, tmp_path):
    def better(node):
        if node["node"]["scorer"] == "snr" and node["node"]["level"] > 6:
            node["results"]["peak"]["accuracy"] += 0.03

    nodes, page = found(ours, made(tmp_path, change=better))
    differ = nodes[nodes["finding"] != "same"]
    assert len(differ) == 6 and set(differ["finding"]) == {"beyond seeds"}
    assert set(differ["metric"]) == {"peak_accuracy"} and set(differ["scorer"]) == {"snr"}
    assert differ["difference"].tolist() == pytest.approx([0.03] * 6)
    assert differ["largest"].tolist() == pytest.approx([0.03] * 6)
    assert "| 1 | Bayesian networks hold a matching ticket at about 10 % density. |" in page
    alone = made(tmp_path / "alone", (0,)), made(tmp_path / "better", (0,), better)
    nodes, _ = found(*alone)
    assert set(nodes["finding"]) == {"same", "one seed each"}


def test_nodes_and_columns_of_one_table_are_said(ours, tmp_path):
    runs = pd.read_csv(ours / "runs.csv")
    fewer = runs[(runs["scorer"] != "mu") | (runs["level"] < 12)]
    fewer = fewer.drop(columns=["search", "branch", "replicate", "peak_mace", "device"])
    fewer.to_csv(tmp_path / "theirs.csv", index=False)
    nodes, page = found(ours, tmp_path / "theirs.csv")
    assert set(nodes["finding"]) == {"same", "a only"}
    assert "peak_mace" not in set(nodes["metric"])
    assert "Kinds of node in a only:\n\n- inference bayesian, scorer mu: level 12\n" in page
    assert "The table of runs of b lacks the columns device, peak_mace." in page
    assert "no table of layers of b" in page
    assert "| device | cpu | not said |" in page


def test_a_level_that_one_table_skipped_is_a_node_of_both(ours, tmp_path):
    runs = pd.read_csv(ours / "runs.csv")
    measured = [name for name in runs if name.startswith("peak_")]
    runs.loc[runs["level"] == 3, measured] = None
    runs.to_csv(tmp_path / "skipped.csv", index=False)
    sides = comparison.read(tmp_path / "skipped.csv"), comparison.read(ours)
    nodes = comparison.compare(*sides, "peak")
    assert set(nodes["finding"]) == {"same", "b only"}
    page = comparison.page(*sides, nodes, None, "peak")
    assert "0 in a only, 0 in b only" in page and "Kinds of node" not in page


def test_claims_need_all_coordinates_and_pairing_unique_ones(ours, tmp_path):
    runs = pd.read_csv(ours / "runs.csv")
    runs.drop(columns="curriculum").to_csv(tmp_path / "less.csv", index=False)
    assert (
        "Claims are not compared: a table lacks curriculum."
        in found(ours, tmp_path / "less.csv")[1]
    )
    runs.drop(columns="scorer").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(InputError, match="the tables do not both say their scorer"):
        found(ours, tmp_path / "less.csv")
    runs.drop(columns="seed").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(InputError, match="has no column seed"):
        comparison.read(tmp_path / "less.csv")
    (tmp_path / "less.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="it has no column level"):
        comparison.read(tmp_path / "less.csv")


def test_the_script_compares_with_a_published_study(ours, tmp_path):
    study = tmp_path / "published/small"
    for name, table in published.tables_of(ours).items():
        path = study / f"seed0/{name}.parquet"
        results.write(table[table["seed"] == 0], path, path.with_suffix(".csv"))
    write_json(study / "seed0/made.json", {"command": "snakemake"})
    command = [sys.executable, "scripts/compare.py", ours / "runs.parquet", study,
               "--csv", tmp_path / "nodes.csv", "--page", tmp_path / "page.md"]  # fmt: skip
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    nodes = pd.read_csv(tmp_path / "nodes.csv")
    assert set(nodes["seeds_a"]) == {3} and set(nodes["seeds_b"]) == {1}
    assert not (nodes["finding"] == "beyond seeds").any()
    assert "50 nodes are in both tables, 100 in a only" in (tmp_path / "page.md").read_text()


def test_claims_on_exports_are_compared_where_they_lie_beside(ours, tmp_path):
    at_10 = {**LATER, "dataset": "digits", "model": "resnet20", "inference": "deterministic"}
    at_10 |= {"scorer": "magnitude", "rewind": "imp", "curriculum": "paper", "level": 10}
    told = {"density": 0.107, "format": "packed", "times_smaller": 50.0, "batch": 1}
    rows = pd.DataFrame([{**at_10, **told, "seed": seed} for seed in range(3)])
    exports = rows.reindex(columns=list(exported.DTYPES)).astype(exported.DTYPES)
    for name in ("runs", "layers"):
        shutil.copyfile(ours / f"{name}.csv", tmp_path / f"{name}.csv")
    results.write(exports, tmp_path / "exports.parquet", tmp_path / "exports.csv")
    first, second = comparison.read(ours), comparison.read(tmp_path / "runs.csv")
    assert first.exports.empty
    pd.testing.assert_frame_equal(second.exports, exports)
    unit = tmp_path / "published/whole"
    shutil.copytree(ours, unit, ignore=shutil.ignore_patterns("runs", "*.csv"))
    shutil.copyfile(tmp_path / "exports.parquet", unit / "exports.parquet")
    write_json(unit / "made.json", {"command": "snakemake"})
    pd.testing.assert_frame_equal(comparison.read(unit.parent).exports, exports)
    name = "forty_times_smaller_deterministic"
    with mock.patch.object(claims, "CLAIMS", {name: claims.CLAIMS[name]}):  # others cost time
        judged = comparison.verdicts(first, second, {})
    assert judged["verdict_a"].tolist() == ["not tested"] and judged["estimate_b"].tolist() == [50]
