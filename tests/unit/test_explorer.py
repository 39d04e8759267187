"""The explorer: what it knows of a study, how large it is, and what a browser makes of it."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from bayesian_lottery.findings import claims, explorer, results
from bayesian_lottery.findings.columns import COORDINATES, SHIFT_DTYPES

pytestmark = pytest.mark.slow
pytest.importorskip("vl_convert")

ROOT = Path(__file__).parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> results.Tables:
    folder = tmp_path_factory.mktemp("study")
    return results.tables(synthetic.write(folder, synthetic.full(levels=3)))


@pytest.fixture(scope="module")
def judged(tables) -> pd.DataFrame:
    return claims.table(tables.runs, tables.layers)


@pytest.fixture(scope="module")
def known(tables, judged) -> dict:
    return explorer.study(tables.runs, judged, "out", ["my study.yaml"])


def curve_of(known, **coordinates) -> int:
    [index] = [
        index
        for index, values in enumerate(known["curves"])
        if coordinates.items() <= dict(zip(known["coordinates"], values, strict=True)).items()
    ]
    return index


def test_a_curve_is_what_the_figures_draw(tables, known):
    wanted = {"model": "resnet20", "scorer": "snr", "rewind": "lrr", "curriculum": "paper"}
    trunks = results.trunk_rows(tables.runs)
    own = trunks[(trunks[list(wanted)] == list(wanted.values())).all(axis="columns")]
    expected = results.summary(own, ["level"], "peak_mace")
    curve = curve_of(known, branch="ticket", **wanted)
    at = [index for index, of in enumerate(known["points"]["curve"]) if of == curve]
    for name in ("mean", "sd"):
        drawn = [known["points"][name]["peak_mace"][index] for index in at]
        assert drawn == pytest.approx(expected[name].tolist(), rel=1e-4)
    assert [known["points"]["level"][index] for index in at] == expected["level"].tolist()


def test_every_run_is_behind_a_point_and_has_its_folder(tables, known):
    behind = {run for point in known["points"]["runs"] for run in point}
    assert behind == set(range(len(tables.runs)))
    folders = known["runs"]["folder"]
    assert len(set(folders)) == len(folders)
    assert "out/runs/digits/resnet20/bayesian/paper/seed1/dense" in folders
    ablated = "out/runs/digits/vit_tiny/deterministic/paper/seed0/magnitude_imp/level03/reinit_1"
    assert ablated in folders
    assert known["options"] == " --configfile 'my study.yaml'"


def test_shifted_images_are_statistics_of_their_own(tables, judged):
    keys = list(COORDINATES)
    one = tables.runs[keys].assign(density=1.0, shift="noise", strength=2, accuracy=0.5)
    one["accuracy"] += tables.runs["seed"] / 10
    other = tables.runs[keys].assign(density=1.0, shift="cifar10", auroc_entropy=0.75)
    shifts = pd.concat([one, other]).reindex(columns=list(SHIFT_DTYPES)).astype(SHIFT_DTYPES)
    known = explorer.study(tables.runs, judged, "out", [], shifts)
    assert known["columns"]["noise 2_accuracy"] == ["noise 2", "accuracy"]
    assert known["statistics"]["noise 2"] == "last epoch, noise of strength 2"
    told = "last epoch, told from cifar10"
    assert known["columns"][f"{told}_auroc_entropy"] == [told, "auroc_entropy"]
    seeds = sorted(tables.runs["seed"].unique())
    expected = np.mean([0.5 + seed / 10 for seed in seeds])
    deviation = np.std([seed / 10 for seed in seeds], ddof=1)
    dense = known["points"]["level"].index(0)
    assert known["points"]["mean"]["noise 2_accuracy"][dense] == pytest.approx(expected)
    assert known["points"]["sd"]["noise 2_accuracy"][dense] == pytest.approx(deviation, rel=1e-3)
    assert known["points"]["sd"]["peak_accuracy"] == explorer.study(
        tables.runs, judged, "out"
    )["points"]["sd"]["peak_accuracy"]  # fmt: skip


def test_ten_thousand_runs_stay_below_ten_megabytes(tables, judged):
    runs = tables.runs.dropna(subset="scorer")
    many = pd.concat([runs.assign(seed=seed) for seed in range(9)])
    many = pd.concat([many.assign(dataset=f"data{i}") for i in range(9)])[:10_000]
    noise = np.random.default_rng(0).uniform(0.9, 1.1, len(many))
    measured = [name for name in many if name.startswith(("peak_", "final_", "selected_"))]
    for name in set(measured) - {"peak_epoch", "final_epoch", "selected_epoch"}:
        many[name] *= noise
    page = explorer.page(many.reset_index(drop=True), judged, "results")
    assert len(many) == 10_000 and len(page.encode()) < 10_000_000


def write(folder: Path, runs: pd.DataFrame, judged: pd.DataFrame) -> str:
    results.write(runs, folder / "runs.parquet", folder / "runs.csv")
    judged.to_csv(folder / "claims.csv", index=False)
    command = [
        sys.executable, "scripts/explorer.py", "--runs", folder / "runs.parquet",
        "--claims", folder / "claims.csv", "--out", folder / "explorer.html",
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True)
    return (folder / "explorer.html").read_text()


USE = """
<script type="module">
const pause = () => new Promise((resolve) => setTimeout(resolve, 50));
const change = (form, name, value) => {
  document.forms[form][name].value = value;
  document.forms[form][name].dispatchEvent(new Event("change"));
};
const marks = () => document.querySelectorAll("#chart .mark-symbol.role-mark path");
const until = async (ready) => { while (!ready()) await pause(); };
const text = (id) => document.getElementById(id).innerText;
const seen = {};
await until(() => marks().length);
seen.start = marks().length;
change("choice", "model", "vit_tiny");
change("choice", "metric", "mace");
await until(() => text("chart").includes("mace"));
seen.model = marks().length;
document.querySelector("input[value=reinit]").click();
await until(() => marks().length !== seen.model);
seen.branch = marks().length;
marks()[1].dispatchEvent(new MouseEvent("click", { bubbles: true }));
seen.point = text("point");
change("filter", "verdict", "supported");
seen.supported = document.querySelectorAll("#claims tr").length - 1;
change("filter", "verdict", "any");
document.forms.filter.words.value = "Squared SUM";
document.forms.filter.words.dispatchEvent(new Event("input"));
seen.words = text("claims");
seen.loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
document.body.append(Object.assign(document.createElement("pre"),
  { id: "seen", textContent: JSON.stringify(seen) }));
</script>
</body>"""


@pytest.mark.skipif(
    BROWSER is None and "LOTTERY_REQUIRE_BROWSER" not in os.environ,
    reason="no Chromium on this machine",
)
def test_a_browser_picks_draws_and_filters(tmp_path, tables, judged):
    strange = judged.assign(reason="</script><b>bold</b>")
    page = write(tmp_path, tables.runs, strange)
    (tmp_path / "used.html").write_text(USE.join(page.rsplit("</body>", 1)))
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000",
        f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{tmp_path}/used.html",
    ]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = re.search(r'<pre id="seen">(.*?)</pre>', run.stdout, re.DOTALL)
    assert found, run.stderr
    seen = json.loads(html.unescape(found[1]))

    # Of either model, trunks of all scorers and searches; a branch has no level 0.
    curves, levels = 18, 4
    assert seen["start"] == seen["model"] == curves * levels
    assert seen["branch"] == curves * levels + 2 * (levels - 1)
    assert "model vit_tiny" in seen["point"]
    assert "seed" in seen["point"] and "snakemake --cores 1 --force results/runs/" in seen["point"]
    assert seen["supported"] == (judged["verdict"] == "supported").sum()
    assert "squared sum" in seen["words"] and "matching ticket" not in seen["words"]
    assert "</script><b>bold</b>" in seen["words"]
    assert seen["loaded"] == []
