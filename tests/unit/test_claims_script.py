"""scripts/claims.py: the table it writes, and how it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import synthetic

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import claims, results
from bayesian_lottery.findings.claims.verdicts import SUPPORTED, UNDECIDED, VERDICTS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def run(tmp_path, options="{}"):
    runs, layer_rows, _ = results.tables(
        synthetic.write(tmp_path, synthetic.study(("resnet20", "vit_tiny"), levels=18))
    )
    paths = {name: tmp_path / f"{name}.parquet" for name in ("runs", "layers")}
    results.write(runs, paths["runs"], tmp_path / "runs.csv")
    results.write(layer_rows, paths["layers"], tmp_path / "layers.csv")
    csv = tmp_path / "claims.csv"
    command = [sys.executable, "scripts/claims.py", "--options", options, "--csv", csv,
               "--html", csv.with_suffix(".html"),
               "--runs", paths["runs"], "--layers", paths["layers"]]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": "src", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done, csv


def test_script_writes_the_table(tmp_path):
    done, csv = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    table = pd.read_csv(csv)
    assert list(table.columns) == list(claims.COLUMNS)
    assert set(table["verdict"]) <= set(VERDICTS)
    assert list(dict.fromkeys(table["claim"])) == list(claims.CLAIMS)
    square = table[(table["claim"] == "square_fails") & (table["model"] == "resnet20")]
    assert square["verdict"].tolist() == [SUPPORTED]
    deeper = table[(table["claim"] == "deeper_pruned_more_bayesian")]
    assert set(deeper["verdict"]) <= {SUPPORTED, UNDECIDED}
    html = csv.with_suffix(".html").read_text()
    verdicts = re.findall(rf"<td>({'|'.join(VERDICTS)})</td>", html)
    assert sorted(verdicts, key=VERDICTS.index) == verdicts and len(verdicts) == len(table)
    assert "Bayesian networks hold a matching ticket" in html


def test_script_refuses_in_one_sentence(tmp_path):
    done, csv = run(tmp_path, json.dumps({"statistic": "best"}))
    assert done.returncode == 1
    assert done.stderr.startswith("error: claims.statistic: 'best' is not known")
    assert not csv.exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"curricula": ["main"]},
            "claims.curricula: ['main'] is not allowed; it must be a mapping",
        ),
        ({"curricula": {"main": 3}}, "claims.curricula.main: 3 is not allowed; it must be text"),
        ({"controls": "x"}, "claims.controls: 'x' is not allowed; it must be a list"),
        ({"tickets": {"no": "x"}}, "claims.tickets: 'no' is not a key; known are search"),
        ({"kinds": 3}, "claims.kinds: 3 is not allowed; it must be a mapping"),
        ({"arms": {"inferences": [3]}}, "claims.arms.inferences: [3] is not allowed"),
    ],
)
def test_options_of_another_type_are_refused(options, words):
    with pytest.raises(InputError, match=f"^{re.escape(words)}"):
        claims.options.Options.of(options)


def test_claims_need_no_torch():
    code = "import sys; import bayesian_lottery.findings.claims; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={"PYTHONPATH": "src"}, check=True)
