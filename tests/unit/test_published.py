"""Published studies: units put together from their tables alone, and what is refused of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from published_study import ROOT, load, make, publish

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_json
from bayesian_lottery.findings import published, publishing, results
from bayesian_lottery.findings.columns import COORDINATES


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return load(folder)


@pytest.fixture
def small(loaded, tmp_path) -> Path:
    """The study, published seed by seed."""
    for seed in (0, 1):
        publish(loaded, tmp_path / f"published/small/seed{seed}", seed)
    return tmp_path / "published/small"


def test_units_make_the_whole_table_again(loaded, small):
    config, nodes = loaded
    files = [Path(config["results"], node.folder, "metrics.json") for node in nodes]
    whole, again = results.tables(files), published.read(small)
    more = {"layers": ["layer"], "shifts": ["shift", "strength"]}
    for name, table in whole._asdict().items():
        keys = [*COORDINATES, *more.get(name, [])]
        ours = getattr(again, name).sort_values(keys, na_position="first", ignore_index=True)
        pd.testing.assert_frame_equal(ours, table)


def test_a_unit_says_what_made_it_and_what_is_not_done(loaded, small):
    config, nodes = loaded
    made, runs = published.units(small)["seed1"], published.read(small).runs.query("seed == 1")
    assert made["command"] == "snakemake --cores 1"
    assert (made["networks"], made["left"]) == (len(runs), 0)
    assert made["seconds"] == pytest.approx(runs["seconds"].sum(), abs=0.1)
    assert made["devices"] == sorted(runs["device"].unique())
    path = Path(config["results"], nodes[0].folder, "metrics.json")
    path.rename(path.with_suffix(".away"))
    again = publish(loaded, small / "seed0", 0)
    path.with_suffix(".away").rename(path)
    assert (again["networks"], again["left"]) == (len(runs) - 1, 1)


def test_only_the_unit_whose_masks_a_figure_shows_keeps_them(small):
    kept = {path.relative_to(small).as_posix() for path in small.rglob("*.safetensors")}
    names = ("ticket", "reinit", "shuffle_global", "initial")
    assert kept == {f"seed0/figure3/{name}.safetensors" for name in names}


def test_wrong_units_are_refused(loaded, small):
    config, nodes = loaded
    elsewhere = {**config, "results": "nowhere"}
    with pytest.raises(InputError, match="no node of seed 0 is done"):
        publishing.publish(elsewhere, nodes, small / "seed0", "x", [])
    with pytest.raises(InputError, match=r"the unit seed1 has the node .* already; publish other"):
        publish(loaded, small / "again", 1)
    shutil.copytree(small / "seed1", small / "again")
    with pytest.raises(InputError, match="two units have the node"):
        published.read(small)
    (small / "again/made.json").unlink()
    with pytest.raises(InputError, match="again: it is there and is no unit"):
        publish(loaded, small / "again", 1)
    assert (small / "again/runs.parquet").exists()
    with pytest.raises(InputError, match="no unit is published"):
        published.read(small.parent / "other")


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("other.parquet", lambda runs: runs, r"the table: 'other' is not known; choose from agree"),
        ("runs.parquet", lambda runs: runs[:4000], r"runs\.parquet: not a readable table"),
        ("runs.parquet", lambda runs: b"\xff" * 4000, r"runs\.parquet: not a readable table"),
        ("runs.parquet", lambda runs: runs[:90] + bytes(800) + runs[890:], "not a readable table"),
        ("made.json", lambda runs: b"[]", r"made\.json: \[\] is not allowed; it must be a mapping"),
        ("made.json", lambda runs: b'{"seeds": 3}', "seeds: 3 is not allowed; it must be a list"),
    ],
)
def test_a_damaged_unit_is_refused(small, name, damage, words):
    unit = small / "seed0"
    (unit / name).write_bytes(damage((unit / "runs.parquet").read_bytes()))
    with pytest.raises(InputError, match=words):
        published.read(small)


@pytest.mark.parametrize("unit", ["..", ".", "a/b", "/elsewhere"])
def test_a_unit_is_no_path(tmp_path, unit):
    kept = tmp_path / "kept.txt"
    kept.write_text("here before")
    command = [sys.executable, ROOT / "scripts/publish.py", "--seeds", "0", "--command", "x"]
    command += ["--study", tmp_path / "study", "--unit", unit]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1 and f"error: --unit: '{unit}' is not allowed" in run.stderr
    assert kept.exists()


def test_more_than_a_repository_bears_is_refused(loaded, small, monkeypatch):
    def contents():
        return {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}

    before = contents()
    monkeypatch.setattr(publishing, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"at most 1,000 are kept"):
        publish(loaded, small / "seed0", 0)
    assert contents() == before


def test_a_unit_to_be_replaced_does_not_count(loaded, small, monkeypatch):
    kept = (path for path in small.rglob("*") if path.suffix in (".parquet", ".safetensors"))
    size = sum(path.stat().st_size for path in kept)
    monkeypatch.setattr(publishing, "LARGEST", size)
    publish(loaded, small / "seed0", 0)


@pytest.mark.parametrize(
    ("names", "above", "shared"),
    [
        (["one.yaml"], "", False),
        (["one.yaml", "above.yaml"], "levels: 2\n", True),
        (["one.yaml", "above.yaml"], "results: results/above\n", False),
    ],
)
def test_a_study_laid_over_another_shares_networks_in_its_results(tmp_path, names, above, shared):
    (tmp_path / "one.yaml").write_text("results: results/one\n")
    (tmp_path / "above.yaml").write_text(above)
    write_json(tmp_path / "study/seed0/made.json", {"configfiles": names})
    assert published.shares_networks(tmp_path / "study", tmp_path) == shared
