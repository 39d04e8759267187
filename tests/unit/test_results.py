"""The tidy tables: what is in them, what they refuse, how spreads are summed."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import claims, results, rows
from bayesian_lottery.findings.columns import RUN_DTYPES
from bayesian_lottery.study import LATER

ROOT = Path(__file__).parents[2]


def test_row_holds_every_part():
    metrics = synthetic.metrics(3, seed=7)
    row = rows.run(metrics)
    assert (row["model"], row["scorer"], row["seed"], row["level"]) == ("resnet20", "snr", 7, 3)
    assert row["density"] + row["sparsity"] == pytest.approx(1)
    assert row["selected_accuracy"] == metrics["results"]["selected"]["accuracy"]
    assert (row["peak_epoch"], row["final_epoch"]) == (31, 40)
    assert row["passes"] == 10
    assert row["passes_sd_mace"] == pytest.approx(statistics.stdev(metrics["passes"]["mace"]))
    assert (row["git_commit"], row["computation"]) == ("0123abc", 1)
    metrics["provenance"]["computation"] = 2
    assert rows.run(metrics)["computation"] == 2


def test_passes_of_one():
    deterministic = rows.run(synthetic.metrics(inference="deterministic"))
    assert deterministic["passes"] == 1
    assert deterministic["passes_sd_accuracy"] == 0
    assert "passes_mean_mutual_information" not in deterministic
    bayesian = synthetic.metrics()
    bayesian["passes"] = {name: values[:1] for name, values in bayesian["passes"].items()}
    assert pd.isna(rows.run(bayesian)["passes_sd_accuracy"])
    # What a transplant trains is Bayesian, whatever its trunk.
    transplant = synthetic.metrics(2, inference="deterministic", branch="transplant_initial")
    transplant["passes"] = bayesian["passes"]
    assert pd.isna(rows.run(transplant)["passes_sd_accuracy"])


def test_nodes_are_the_coordinates_without_pandas_nulls(tmp_path):
    made = [
        synthetic.metrics(0),
        synthetic.metrics(2, seed=1, branch="reinit", replicate=1),
    ]
    later = [dict.fromkeys(LATER), LATER]
    expected = [{**m["node"], **own} for m, own in zip(made, later, strict=True)]
    for table in results.tables(synthetic.write(tmp_path, made))[:2]:
        assert results.nodes(table) == expected
        assert type(results.nodes(table)[1]["level"]) is int


def test_files_that_cannot_be_read_are_refused(tmp_path):
    cut = tmp_path / "cut.json"
    cut.write_text('{"node": {')
    for path in (tmp_path / "absent.json", cut, tmp_path):
        with pytest.raises(InputError, match=str(path)):
            results.tables([path])
    with pytest.raises(InputError, match="empty"):
        results.tables([])


@pytest.mark.parametrize("name", ["nope", "nope.csv", "nope/runs.parquet"])
def test_a_table_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=rf"{name}: there is no such file\.$"):
        results.read(tmp_path / name)


def test_duplicates_are_refused(tmp_path):
    [path] = synthetic.write(tmp_path, [synthetic.metrics(2)])
    with pytest.raises(InputError, match=f"{path}: the same node as {path}"):
        results.tables([path, path])


def test_order_and_types_do_not_depend_on_the_files(tmp_path):
    paths = synthetic.write(tmp_path, synthetic.study(seeds=(0, 1), levels=2))
    runs, layers, _ = results.tables(paths)
    again = results.tables(reversed(paths))
    pd.testing.assert_frame_equal(runs, again[0])
    pd.testing.assert_frame_equal(layers, again[1])

    assert len(runs) == 2 * (1 + 2) + 2 * (1 + 3 * 2)
    assert len(layers) == len(runs) * synthetic.LAYERS["resnet20"]
    assert list(layers["layer"][:3]) == [1, 2, 3]
    assert {runs[name].dtype.name for name in ("level", "seed", "replicate")} == {"Int64"}
    assert {runs[name].dtype.name for name in ("scorer", "branch", "git_commit")} == {"string"}
    assert runs["passes_sd_mutual_information"].dtype == "float64"

    alone = results.tables([paths[0]]).runs  # every nullable column is null, and keeps its type
    pd.testing.assert_series_equal(alone.dtypes, runs.dtypes)


def test_no_validation_split(tmp_path):
    runs = results.tables(synthetic.write(tmp_path, [synthetic.metrics(selected=False)])).runs
    assert runs[["selected_epoch", "selected_accuracy"]].isna().all(axis=None)
    assert runs["peak_accuracy"].notna().all()


def test_files_keep_the_table(tmp_path):
    runs = results.tables(synthetic.write(tmp_path, synthetic.study(seeds=(0,), levels=1))).runs
    parquet, csv = tmp_path / "runs.parquet", tmp_path / "runs.csv"
    results.write(runs, parquet, csv)
    pd.testing.assert_frame_equal(results.read(parquet), runs)
    pd.testing.assert_frame_equal(results.read(csv), runs)
    before = parquet.read_bytes()
    results.write(runs, parquet, csv)
    assert parquet.read_bytes() == before
    (tmp_path / "text.parquet").write_bytes(csv.read_bytes())
    for path in (tmp_path / "text.parquet", tmp_path / "absent.parquet"):
        with pytest.raises(InputError, match=str(path)):
            results.read(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda runs: runs[["level"]], "it has no column dataset"),
        (lambda runs: runs.drop(columns="model"), "it has no column model"),
        (lambda runs: runs.drop(columns="peak_accuracy"), "it has no column peak_accuracy"),
        (lambda runs: runs.assign(density="x"), "the column density is not of its type"),
        (lambda runs: runs.assign(level="x"), "the column level is not of its type"),
        (lambda runs: runs.assign(seed=0.5), "the column seed is not of its type"),
        (lambda runs: runs.assign(model=None), "the column model is empty in a row"),
    ],
)
def test_a_table_of_something_else_is_refused(tmp_path, change, words):
    runs = results.tables(synthetic.write(tmp_path, synthetic.study(seeds=(0,), levels=1))).runs
    results.write(change(runs), tmp_path / "runs.parquet")
    with pytest.raises(InputError, match=rf"runs\.parquet: .*{words}"):
        results.read_whole(tmp_path / "runs.parquet", RUN_DTYPES)


def test_what_a_table_of_before_did_not_measure_is_null(tmp_path):
    runs = results.tables(synthetic.write(tmp_path, synthetic.study(seeds=(0,), levels=1))).runs
    results.write(runs.drop(columns=["gradients", "connected"]), tmp_path / "runs.parquet")
    read = results.read_whole(tmp_path / "runs.parquet", RUN_DTYPES)
    pd.testing.assert_frame_equal(
        read.assign(gradients=runs["gradients"]), runs.assign(connected=read["connected"])
    )
    assert read["connected"].isna().all()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"number,claim\n1,2\n", bytes(range(256))])
def test_what_is_no_table_of_claims_is_refused(tmp_path, content):
    (tmp_path / "claims.csv").write_bytes(content)
    for name in ("claims.csv", "nope.csv", "."):
        with pytest.raises(InputError, match=r"^/"):
            claims.read(tmp_path / name)


def test_searches_share_their_dense_row_and_are_not_mixed(tmp_path):
    made = [synthetic.metrics(level, search=search) for level, search in
            [(0, None), (1, None), (1, "one_shot"), (2, "one_shot")]]  # fmt: skip
    for table in results.tables(synthetic.write(tmp_path, made))[:2]:
        trunks = results.trunk_rows(table).drop_duplicates(["search", "level"])
        assert list(zip(trunks["search"], trunks["level"], strict=True)) == [
            ("iterative", 0),
            ("iterative", 1),
            ("one_shot", 0),
            ("one_shot", 1),
            ("one_shot", 2),
        ]
        levels = results.shown(table)["level"]
        assert set(levels) == {0, 1}
        summary = results.summary(table, ["search", "level"], "density")
        assert len(summary) == len(made)


def test_a_table_of_before_has_no_later_columns_and_is_read(tmp_path):
    made = [synthetic.metrics(level) for level in (0, 1)]
    table = results.tables(synthetic.write(tmp_path, made)).runs
    results.write(table.drop(columns=["ranking", "pattern"]), tmp_path / "old", tmp_path / "csv")
    old = results.read(tmp_path / "old")
    assert results.nodes(old) == results.nodes(table)
    assert len(results.shown(old)) == 2


def test_trunks_share_their_dense_row(tmp_path):
    nodes = [
        synthetic.metrics(0),
        synthetic.metrics(1),
        synthetic.metrics(1, scorer="mu"),
        synthetic.metrics(1, scorer="mu", rewind="lrr"),
        synthetic.metrics(1, branch="reinit", replicate=0),
        synthetic.metrics(0, seed=5),  # no scorer has pruned it yet
    ]
    runs, layers, _ = results.tables(synthetic.write(tmp_path, nodes))
    trunks = results.trunk_rows(runs)
    assert list(trunks.columns) == list(runs.columns)
    assert list(zip(trunks["scorer"], trunks["rewind"], trunks["level"], strict=True)) == [
        ("mu", "imp", 0),
        ("mu", "imp", 1),
        ("mu", "lrr", 0),
        ("mu", "lrr", 1),
        ("snr", "imp", 0),
        ("snr", "imp", 1),
    ]
    assert trunks.query("level == 0")["peak_accuracy"].nunique() == 1
    assert len(results.trunk_rows(layers)) == 6 * synthetic.LAYERS["resnet20"]
    assert len(results.trunk_rows(runs[runs["level"] == 0])) == 0


def spread_of(values, passes_sd, column="peak_accuracy"):
    frame = pd.DataFrame(
        {"level": 1, "seed": range(len(values)), column: values, "passes_sd_accuracy": passes_sd}
    )
    return results.summary(frame, ["level"], column).iloc[0]


def test_branches_share_their_dense_row_where_their_trunks_have_it_deeper(tmp_path):
    shared = {"inference": "deterministic", "seed": 0}
    nodes = [
        synthetic.metrics(0, branch="transplant_initial", replicate=0, **shared),
        synthetic.metrics(0, branch="reinit", replicate=0, **shared),
        *(
            synthetic.metrics(2, branch="transplant_initial", replicate=0, scorer="magnitude",
                              rewind=rewind, **shared)
            for rewind in ("imp", "lrr")
        ),
    ]  # fmt: skip
    rows = results.branch_rows(results.tables(synthetic.write(tmp_path, nodes)).runs)
    own = rows[rows["branch"] == "transplant_initial"]
    assert own[["rewind", "level"]].values.tolist() == [
        ["imp", 0],
        ["imp", 2],
        ["lrr", 0],
        ["lrr", 2],
    ]
    assert len(rows) == 5 and rows["rewind"].isna().sum() == 1, "no trunk has the other one deeper"


def test_summary_adds_both_variances():
    summary = spread_of([0.8, 0.9], [0.03, 0.04])
    assert summary["mean"] == pytest.approx(0.85)
    assert summary["sd"] ** 2 == pytest.approx(0.005 + (0.03**2 + 0.04**2) / 2)
    assert summary["seeds"] == 2


def test_summary_of_one_seed_has_the_passes_alone():
    assert spread_of([0.8], [0.03])["sd"] == pytest.approx(0.03)
    assert pd.isna(spread_of([0.8], [None])["sd"])
    assert spread_of([0.8, 0.9], [None, None])["sd"] ** 2 == pytest.approx(0.005)


def test_summary_of_a_column_without_passes():
    assert spread_of([1.0, 3.0], [9.0, 9.0], "seconds")["sd"] ** 2 == pytest.approx(2)


def test_summary_leaves_out_nulls_and_keeps_null_groups():
    frame = pd.DataFrame(
        {
            "branch": pd.array([None, None, "reinit"], dtype="string"),
            "seed": [0, 1, 0],
            "peak_mace": [0.1, None, 0.3],
            "passes_sd_mace": 0.0,
        }
    )
    summary = results.summary(frame, ["branch"], "peak_mace")
    assert sorted(summary["mean"]) == [0.1, 0.3]
    assert list(summary["seeds"]) == [1, 1]
    with pytest.raises(InputError, match="peak_mage"):
        results.summary(frame, ["branch"], "peak_mage")


def test_aggregate_script(tmp_path):
    paths = synthetic.write(tmp_path, synthetic.study(seeds=(0,), levels=1))
    listing = tmp_path / "metrics.txt"
    listing.write_text("\n".join(map(str, paths)) + "\n")
    outputs = {
        f"{table}-{suffix}": tmp_path / f"tables/{table}.{suffix}"
        for table in ("runs", "layers", "shifts")
        for suffix in ("parquet", "csv")
    }
    command = [sys.executable, str(ROOT / "scripts/aggregate.py"), "--metrics-list", str(listing)]
    command += [word for name, path in outputs.items() for word in (f"--{name}", str(path))]
    subprocess.run(command, check=True)
    expected = results.tables(paths)
    pd.testing.assert_frame_equal(results.read(outputs["runs-parquet"]), expected[0])
    pd.testing.assert_frame_equal(results.read(outputs["layers-parquet"]), expected[1])

    os.remove(paths[0])
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr == f"error: {paths[0]}: no such file.\n"
