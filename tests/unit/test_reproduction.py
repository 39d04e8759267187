"""The page of what published studies say, and figures drawn from their tables alone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from published_study import ROOT, load, make, publish

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_json
from bayesian_lottery.findings import claims, overview, published, reproduction

PAGE = """# Page

Words.

<!-- verdicts -->
<!-- end of verdicts -->

## Digits: a study

<!-- study small -->
<!-- end of small -->

More words.
"""


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


def reproduce(folder: Path, small: Path, *options: str) -> str:
    """What scripts/reproduce.py makes of a page about the study."""
    page = small.parents[1] / "page.md"
    page.write_text(PAGE)
    command = [sys.executable, ROOT / "scripts/reproduce.py", "--published", small.parent]
    command += ["--page", page, "--configurations", folder]
    command += ["--style", ROOT / "config/figures.mplstyle", *options]
    subprocess.run(command, check=True)
    return page.read_text()


def test_the_page_has_the_numbers_of_the_tables(folder, small):
    (small / "figure4.png").touch()  # as if drawn
    (small / "words.yaml").write_text("figure4: Tickets win.\ndiffers: The data are\n  made up.\n")
    page = reproduce(folder, small, "--no-figures")
    assert page.startswith("# Page\n\nWords.\n\n<!-- verdicts -->\n\n| study |")
    assert page.endswith("<!-- end of small -->\n\nMore words.\n")
    assert "> Digits, in miniature.\n>\n> Reduced: all of it. By itself:\n" in page
    assert "Tickets win." in page and "The data are made up." in page
    assert "All networks: dataset digits, model lenet_100_50, rewind imp, " in page
    tables = published.read(small)
    judged = claims.table(tables.runs, tables.layers, {"margin": 0.02})
    judged = judged[judged["verdict"] != "not tested"]
    assert len(judged)
    decided = page.partition("<!-- end of verdicts -->")[0].splitlines()
    for row in judged.itertuples():
        (line,) = [
            line
            for line in page.splitlines()
            if row.text in line and f"| {row.model} |" in line and row.statistic in line
        ]
        assert f"| {row.verdict} |" in line and f"{row.estimate:.4g}" in line
        above = [line for line in decided if row.text in line and row.statistic in line]
        assert len(above) == (row.verdict != "undecided")
        assert all(f"| {row.verdict} |" in line and f"{row.estimate:.4g}" in line for line in above)
    assert page.count("| [Digits: a study](#digits-a-study) |") == 1 + sum(
        judged["verdict"] != "undecided"
    )

    runs = tables.runs[tables.runs["scorer"] == "magnitude"]
    ticket = runs[(runs["level"] == 3) & runs["branch"].isna()]["final_accuracy"]
    of_magnitude = [row for row in page.splitlines() if "magnitude" in row]
    (line,) = [row for row in of_magnitude if "/ magnitude | 51.2 % |" in row]
    assert f"| {100 * ticket.mean():.2f} ± {100 * ticket.std():.2f} |" in line
    drawn = runs[(runs["branch"] == "reinit") & (runs["level"] == 3)]["final_accuracy"]
    less = drawn.to_numpy() - ticket.to_numpy()
    (line,) = [row for row in of_magnitude if "| reinit | 51.2 % |" in row]
    assert f"| {100 * less.mean():.2f} ± {100 * less.std(ddof=1):.2f} | 2 |" in line
    (line,) = [row for row in of_magnitude if "| noise | 51.2 % |" in row]
    assert "| 70.00 ± 0.00 |" in line, "the mean over three strengths"


def test_a_unit_that_does_not_say_what_made_it_is_refused(small):
    write_json(small / "seed0/made.json", {"command": "x"})
    with pytest.raises(InputError, match=r"seed0/made\.json: the key 'seeds' is missing"):
        reproduction.section(small, "", pd.DataFrame(), published.read(small), {})


def test_branches_stand_at_the_density_of_their_ticket(small):
    tables = published.read(small)
    runs = tables.runs.copy()
    runs.loc[runs["branch"].notna(), "density"] = 1.0  # as of small dense networks
    judged = claims.table(runs, tables.layers, {})
    page = reproduction.section(small, "", judged, tables._replace(runs=runs), {})
    assert "| reinit | 51.2 % |" in page and "| reinit | 100.0 % |" not in page


def test_claims_on_another_studys_networks_are_counted_only():
    row = {
        "number": 1,
        "text": "It holds.",
        "verdict": "supported",
        "verdict_corrected": "supported",
        "statistic": "a share",
        "estimate": 0.5,
        "low": 0.4,
        "high": 0.6,
        "q": 0.01,
        "seeds": 3,
    }
    judged = dict.fromkeys(("one", "other"), pd.DataFrame([row, {**row, "verdict": "undecided"}]))
    page = overview.overview(judged, {"one": "[One]", "other": "[Other]"}, ["other"])
    assert [line.count("[Other]") for line in page.splitlines()].count(1) == 1
    assert "| [Other] | 3 | 1 | 0 | 1 |" in page
    assert (
        "| It holds. | supported | supported, q = 0.01 | a share: 0.5 [0.4, 0.6] | 3 | [One] |"
        in page
    )


def test_words_of_no_part_are_refused(small):
    (small / "words.yaml").write_text("figure99: Nothing.\n")
    with pytest.raises(InputError, match="figure99"):
        reproduction.words(small)


@pytest.mark.slow
def test_all_figures_are_drawn_from_the_published_files_alone(folder, small):
    page = reproduce(folder, small)
    drawn = {path.stem for path in small.glob("*.png")}
    assert {"figure1", "figure2", "figure3", "figure4"} <= drawn
    explored = (small / "explorer.html").read_text()
    assert '"lenet_100_50"' in explored
    named = re.findall(r"\.\./published/small/(\w+)\.png", page)
    assert set(named) == drawn
    assert named == sorted(named, key=lambda name: int(name.removeprefix("figure")))
    assert page == reproduce(folder, small, "--no-figures")


def test_the_documents_are_what_the_published_tables_say(tmp_path):
    """docs/reproduction.md, made again, is what is committed."""
    page = ROOT / "docs/reproduction.md"
    named = re.findall(r"<!-- study (\w+) -->", page.read_text())
    assert set(named) >= {path.name for path in (ROOT / "published").glob("*/")}
    shutil.copytree(ROOT / "published", tmp_path / "published")
    shutil.copy(page, tmp_path / "page.md")
    command = [sys.executable, ROOT / "scripts/reproduce.py", "--no-figures"]
    command += ["--published", tmp_path / "published", "--page", tmp_path / "page.md"]
    subprocess.run(command, check=True, cwd=ROOT)
    assert (tmp_path / "page.md").read_text() == page.read_text()
    for made in (ROOT / "published").glob("*/*/made.json"):
        assert json.loads(made.read_text())["command"]
