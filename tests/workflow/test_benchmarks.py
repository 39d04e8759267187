"""The benchmarks run to their ends, on as little as they can."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("training.py --models lenet5 --batch 8 --samples 2 --steps 1 --cases ours", "| ours |"),
        ("training.py --models lenet5 --batch 8 --steps 1 --sweep", "| ours, 5 a pass |"),
        (
            "survivors.py --models lenet_100_50 --shape 1 8 8 --batch 8 --samples 2 --turns 1",
            "| bayesian | now | 0.01 |",
        ),
        ("products.py --turns 1", "| 784 | 300 | 10 | 128 | 0.01 |"),
        (
            "formats.py --models lenet_300_100 --formats csr --densities 0.1 --batches 1 "
            "--seconds 0",
            "| lenet_300_100 | CSR | 0.1 |",
        ),
        ("packs.py --models lenet_100_50 --networks 1 2 --steps 1", "| bayesian | 2 |"),
        ("variance.py --models lenet_100_50 --epochs 1 --samples 2 --repeats 2", "| Flipout | 2 |"),
        ("variance.py --models lenet_100_50 --epochs 1 --samples 2 --seeds 2", "| Flipout | 2 |"),
        ("decoding.py --images 1000 --width 40 --height 30 --size 8", "| decoding, once |"),
        ("run.py start", "| alone |"),
        ("gpu_check.py --tiny --folder {folder}", "| packs | well |"),
    ],
)
def test_it_prints_its_table(command, words, tmp_path):
    run = subprocess.run(
        [sys.executable, *f"benchmarks/{command.format(folder=tmp_path)}".split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert words in run.stdout
