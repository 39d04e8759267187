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
import yaml

from bayesian_lottery import models, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_json, write_tensors
from bayesian_lottery.findings import (
    claims,
    overview,
    published,
    publishing,
    reproduction,
    results,
)
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.study import configuration
from bayesian_lottery.tickets import masks

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
PAGE = """# Page

Words.

<!-- verdicts -->
<!-- end of verdicts -->

## Digits: a study

<!-- study small -->
<!-- end of small -->

More words.
"""
TRUNK = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "short", "levels": 6}
CONFIGURATION = {
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {"short": {"epochs": 7, "learning_rate": 0.005}},
    "trunks": [
        {**TRUNK, "inference": "deterministic", "scorer": "magnitude", "seeds": [0, 1]},
        {**TRUNK, "inference": "bayesian", "scorer": ["snr", "square", "mu"], "seeds": [0, 1]},
    ],
    "branches": [
        {"branch": ["reinit", "shuffle_global"], "scorer": ["magnitude", "snr"], "levels": [3, 5]}
    ],
    "claims": {"margin": 0.02},
}
SHIFTS = [
    {"shift": "noise", "strength": strength, "accuracy": 0.9 - strength / 10, "nll": 0.3,
     "ece": 0.1} for strength in (1, 2, 3)
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Made-up metrics of the study above, and the masks and weights that figure 3 shows."""
    folder = tmp_path_factory.mktemp("made")
    config = {**CONFIGURATION, "results": str(folder / "results")}
    text = "# Digits, in miniature.\n#\n# Reduced: all of it. By itself:\n#\n#     snakemake\n\n"
    (folder / "small.yaml").write_text(text + yaml.safe_dump(config))
    config, nodes = configuration.load([folder / "small.yaml"], [], SCHEMA)
    for node in nodes:
        made = synthetic.of(node, study.node_settings(config, node))
        path = Path(config["results"], node.folder, "metrics.json")
        write_json(path, {**made, "shifts": SHIFTS})
    plain = models.build("lenet_100_50", (1, 8, 8), 10, seed=0)
    mask = masks.ones(models.prunable(plain))
    for node in nodes:
        if node.scorer == "magnitude" and node.seed == 0:
            files = study.node_inputs(config, node)
            write_tensors(files["initial"], plain.state_dict())
            masks.save(files["mask"], mask)
            if node.branch:
                masks.save(Path(config["results"], node.folder, "mask.safetensors"), mask)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return configuration.load([folder / "small.yaml"], [], SCHEMA)


def publish(loaded, unit: Path, *seeds: int) -> dict:
    config, nodes = loaded
    own = [node for node in nodes if node.seed in seeds]
    return publishing.publish(config, own, unit, f"snakemake --cores {seeds[0]}", ["small.yaml"])


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


def test_a_unit_that_does_not_say_what_made_it_is_refused(small):
    write_json(small / "seed0/made.json", {"command": "x"})
    with pytest.raises(InputError, match=r"seed0/made\.json: the key 'seeds' is missing"):
        reproduction.section(small, "", pd.DataFrame(), published.read(small), {})


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
