"""Tickets of perceptrons on tables, by the real workflow: scikit-learn's, and a file."""

import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from test_partial import RESULTS, Study, checkout

from bayesian_lottery.files import read_json

DATASETS = {
    "cancer": {"source": "breast_cancer"},
    "file": {"source": "table", "root": "cancer.csv", "target": "target"},
}


@pytest.mark.slow
def test_tickets_are_found_on_tables(tmp_path):
    checkout(tmp_path)
    load_breast_cancer(as_frame=True).frame.to_csv(tmp_path / "cancer.csv", index=False)
    study = Study(tmp_path)
    shared = {"dataset": [*DATASETS], "model": "lenet_100_50", "curriculum": "short", "seeds": [0]}
    study.config |= {
        "datasets": DATASETS,
        "curricula": {"short": {"epochs": 4, "learning_rate": 0.01, "batch_size": 32}},
        "trunks": [
            {**shared, "inference": "deterministic", "scorer": "magnitude", "levels": 3},
            {**shared, "inference": "bayesian", "scorer": "snr", "levels": 3},
        ],
        "figures": {"figure1": {"metric": "auc"}},
    }
    del study.config["branches"]
    study.snakemake()
    runs = pd.read_parquet(tmp_path / RESULTS / "tables/runs.parquet")
    assert len(runs) == 2 * 2 * 4 and runs["density"].min() < 0.52
    # Sparse networks tell malignant from benign as well as dense ones do.
    assert runs["peak_auc"].min() > 0.95 and runs["peak_average_precision"].min() > 0.9
    assert (tmp_path / RESULTS / "figures/figure1.png").exists()
    for inference in ("deterministic/short/seed0/magnitude_imp", "bayesian/short/seed0/snr_imp"):
        metrics = tmp_path / RESULTS / f"runs/cancer/lenet_100_50/{inference}/level03/metrics.json"
        assert read_json(metrics)["passes"]["auc"]
    assert study.trained() == {}
