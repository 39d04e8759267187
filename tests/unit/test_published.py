"""Published studies: units put together, figures and verdicts drawn from their tables alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import claims, published, results
from bayesian_lottery.findings.columns import COORDINATES

ROOT = Path(__file__).parents[2]
PAGE = "# Page\n\nWords.\n\n<!-- study small -->\n<!-- end of small -->\n\nMore words.\n"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The results of a synthetic study of two seeds, and its tables."""
    folder = tmp_path_factory.mktemp("results")
    made = results.tables(synthetic.write(folder, synthetic.study(seeds=(0, 1), levels=6)))
    for name, table in made._asdict().items():
        results.write(table, folder / f"{name}.parquet")
    return folder


@pytest.fixture
def study(tables, tmp_path):
    """The study, published seed by seed."""
    for seed in (0, 1):
        command = f"snakemake --cores 2 --config seeds={seed}"
        published.publish(tables, tmp_path / "published/small", f"seed{seed}", [seed], command)
    return tmp_path / "published/small"


def test_units_make_the_whole_table_again(tables, study):
    whole, again = published.tables_of(tables), published.read(study)
    for name, table in whole._asdict().items():
        keys = [*COORDINATES, *(["layer"] if name == "layers" else [])]
        ours = getattr(again, name).sort_values(keys, na_position="first", ignore_index=True)
        pd.testing.assert_frame_equal(ours, table)


def test_a_unit_says_what_made_it(tables, study):
    made = published.units(study)["seed1"]
    runs = published.tables_of(tables).runs.query("seed == 1")
    assert made["command"] == "snakemake --cores 2 --config seeds=1"
    assert made["networks"] == len(runs)
    assert made["seconds"] == pytest.approx(runs["seconds"].sum(), abs=0.1)
    assert made["devices"] == sorted(runs["device"].unique())


def test_wrong_units_are_refused(tables, study):
    with pytest.raises(InputError, match="no node of seed 7 is done"):
        published.publish(tables, study, "seed7", [7], "x")
    published.publish(tables, study, "again", [1], "x")
    with pytest.raises(InputError, match="two units have the node"):
        published.read(study)
    with pytest.raises(InputError, match="no unit is published"):
        published.read(study.parent / "other")


def test_more_than_a_repository_bears_is_refused(tables, study, monkeypatch):
    monkeypatch.setattr(published, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"at most 1,000 are kept"):
        published.publish(tables, study, "seed0", [0], "x")


def reproduce(study: Path, *options: str) -> str:
    """What scripts/reproduce.py makes of a page about the study."""
    folder = study.parents[1]
    (folder / "configurations").mkdir(exist_ok=True)
    (folder / "configurations/small.yaml").write_text("claims: {margin: 0.02}\n")
    page = folder / "page.md"
    page.write_text(PAGE)
    command = [sys.executable, ROOT / "scripts/reproduce.py", "--published", study.parent]
    command += ["--page", page, "--configurations", folder / "configurations"]
    command += ["--style", ROOT / "config/figures.mplstyle", *options]
    subprocess.run(command, check=True)
    return page.read_text()


def test_the_page_has_the_verdicts_of_the_tables(study):
    page = reproduce(study, "--no-figures")
    assert page.startswith("# Page\n\nWords.\n\n<!-- study small -->")
    assert page.endswith("<!-- end of small -->\n\nMore words.\n")
    tables = published.read(study)
    judged = claims.table(tables.runs, tables.layers, {"margin": 0.02})
    judged = judged[judged["verdict"] != "not tested"]
    assert len(judged)
    for row in judged.itertuples():
        (line,) = [
            line
            for line in page.splitlines()
            if row.text in line and f"| {row.model} |" in line and row.statistic in line
        ]
        assert f"| {row.verdict} |" in line and f"{row.estimate:.4g}" in line


@pytest.mark.slow
def test_figures_are_drawn_from_the_tables_alone(study):
    reproduce(study)
    drawn = {path.name for path in study.glob("*.png")}
    assert {"figure1.png", "figure2.png"} <= drawn
    assert "figure3.png" not in drawn  # it needs masks


def test_the_documents_are_what_the_published_tables_say(tmp_path):
    """docs/reproduction.md, made again, is what is committed."""
    page = ROOT / "docs/reproduction.md"
    named = re.findall(r"<!-- study (\w+) -->", page.read_text())
    assert named == sorted(path.name for path in (ROOT / "published").glob("*/"))
    shutil.copytree(ROOT / "published", tmp_path / "published")
    shutil.copy(page, tmp_path / "page.md")
    command = [sys.executable, ROOT / "scripts/reproduce.py", "--no-figures"]
    command += ["--published", tmp_path / "published", "--page", tmp_path / "page.md"]
    subprocess.run(command, check=True, cwd=ROOT)
    assert (tmp_path / "page.md").read_text() == page.read_text()
    for made in (ROOT / "published").glob("*/*/made.json"):
        assert json.loads(made.read_text())["command"]
