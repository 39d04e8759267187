"""How many jobs use a GPU at once, where no cluster counts them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("visible", "options", "provided"),
    [
        ("0,1", ["--cores", "all"], "2"),
        ("0,1", ["--resources", "gpu=7"], "7"),
        ("", [], None),
    ],
)
def test_as_many_jobs_as_gpus_unless_the_user_says(tmp_path, visible, options, provided):
    for name in ("config", "scripts", "src", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", "--cores", "4", *options]
    run = subprocess.run(
        [*command, "--", "results/data/digits.safetensors"],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": visible, "NO_COLOR": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert run.returncode == 0, run.stdout
    found = re.search(r"^Provided resources:.*\bgpu\D+(\d+)", run.stdout, flags=re.MULTILINE)
    assert (found and found[1]) == provided
