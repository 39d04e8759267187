"""Figures as files: the script that writes them, the same bytes each time, and captions."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from docutils.core import publish_parts
from drawn import ROOT, STYLE
from jinja2 import Environment, StrictUndefined
from snakemake.utils import validate

from bayesian_lottery.findings import figures, results
from bayesian_lottery.study.node_metrics import STATISTICS

pytestmark = pytest.mark.slow

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DESCRIBED = yaml.safe_load(SCHEMA.read_text())["properties"]["figures"]["properties"]
OF_STATISTIC = [
    name for name, options in DESCRIBED.items() if "statistic" in options.get("properties", {})
]
SHOWN = "digits, rewind imp, 3 seeds"


# Draws figures as a child process, whose order of sets is another.
CHILD = """
import json, sys
from pathlib import Path
from bayesian_lottery.findings import figures, results
from bayesian_lottery.findings.figures import style
folder, out, files = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
for name in ("figure2", "figure3", "figure12", "table1"):
    figure = figures.FIGURES[name]
    tables = {each: results.read(folder / f"{each}.parquet") for each in ("runs", figure.table)}
    with style.applied(sys.argv[4]):
        drawn = figures.draw(name, tables, {}, {key: Path(path) for key, path in files.items()})
        for kind in figure.formats:
            figures.save(drawn, out / f"{name}.{kind}")
"""


@pytest.fixture(scope="module")
def written(whole, tmp_path_factory) -> Path:
    """A folder of tables."""
    folder = tmp_path_factory.mktemp("tables")
    for name in ("runs", "layers", "distances"):
        results.write(whole[name], folder / f"{name}.parquet")
    return folder


def test_the_same_tables_give_the_same_bytes(written, files, tmp_path):
    told = json.dumps({name: str(path) for name, path in files.items()})
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, written, tmp_path / seed, told, STYLE],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert [child.wait() for child in children] == [0, 0]
    first, second = (sorted((tmp_path / seed).iterdir()) for seed in ("1", "2"))
    assert len(first) == 3 * 2 + 2
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_script_writes_every_format_or_says_why_not(written, tmp_path):
    def run(figure: str, options: dict, *formats: str):
        out = [tmp_path / f"{figure}.{kind}" for kind in formats]
        command = [
            sys.executable, ROOT / "scripts/plot.py", "--figure", figure,
            "--runs", written / "runs.parquet", "--layers", written / "layers.parquet",
            "--options", json.dumps(options), "--style", STYLE, "--out", *out,
        ]  # fmt: skip
        return out, subprocess.run(map(str, command), capture_output=True, text=True)

    out, failed = run("figure1", {"dataset": "cifar10"}, "png", "pdf")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: There is nothing to show of dataset cifar10")
    assert not any(path.exists() for path in out)
    (png, pdf), done = run("figure1", {"models": ["vit_tiny"]}, "png", "pdf")
    assert (done.returncode, done.stderr) == (0, "")
    assert png.read_bytes().startswith(b"\x89PNG") and pdf.read_bytes().startswith(b"%PDF")
    _, failed = run("table1", {}, "png")
    assert "table1.png is none of html, csv" in failed.stderr


@functools.cache
def settings(config: str, statistic: str) -> dict:
    """A configuration, with its defaults, whose figures show the statistic."""
    options = {name: {"statistic": statistic} for name in OF_STATISTIC}
    own = yaml.safe_load((ROOT / "config" / config).read_text()) | {"figures": options}
    validate(own, str(SCHEMA))
    return own


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("config", ["config.yaml", "cifar10.yaml"])
@pytest.mark.parametrize("caption", [*figures.FIGURES, "runs", "workflow"])
def test_captions_render(caption, config, statistic):
    # As snakemake.report does it, but strict about what is undefined.
    template = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    plan = SimpleNamespace(statistic=statistic if caption in OF_STATISTIC else None)
    params = SimpleNamespace(shown=SHOWN, measured=figures.measured(caption, plan))
    text = template.from_string((ROOT / "workflow/report" / f"{caption}.rst").read_text()).render(
        snakemake=SimpleNamespace(config=settings(config, statistic), params=params)
    )
    warnings = {"halt_level": 2, "report_level": 2}  # a warning of docutils is an error here
    html = publish_parts(text, writer="html", settings_overrides=warnings)["html_body"]
    assert "{{" not in html
    if caption in figures.FIGURES:
        assert SHOWN in html
    if caption in OF_STATISTIC:
        assert ("optimistic" in html) == (statistic == "peak")
        assert (f"figures: {{{caption}: {{statistic: selected}}}}" in html) == (statistic == "peak")
