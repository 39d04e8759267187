"""Exact samplers in miniature: config/montecarlo.yaml is whole, and a smaller form of it runs."""

import pandas as pd
import pytest
import yaml
from test_partial import ROOT, Study, checkout

from bayesian_lottery import study
from bayesian_lottery.study import configuration

CONFIG = ROOT / "config/montecarlo.yaml"
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"


def test_the_miniature_has_chains_their_pools_and_an_ensemble() -> None:
    config, nodes = configuration.load([CONFIG], [], SCHEMA)
    branches = [node for node in nodes if node.branch]
    assert len(nodes) == 2 + len(branches) == 2 + 4 + 2 * 2 + 3
    chains = [n for n in branches if study.node_settings(config, n)["inference"] == "chain"]
    drawn = [n for n in chains if "draws" in study.node_outputs(config, n)]
    assert len(drawn) == 4 and all(node.level == 1 for node in drawn)


@pytest.mark.slow
def test_a_smaller_form_tells_whether_its_chains_agree(tmp_path) -> None:
    checkout(tmp_path)
    made = Study(tmp_path)
    made.config = yaml.safe_load(CONFIG.read_text())
    made.config["inferences"]["chain"] |= {"warmup": 30, "draws": 20, "keep": 10, "steps": 15}
    made.config["curricula"]["short"] |= {"epochs": 2, "milestones": []}
    made.snakemake()
    runs = pd.read_parquet(tmp_path / "results/montecarlo/tables/runs.parquet")
    assert len(runs) == 13
    pooled = runs[runs["branch"].isin(["chains", "random_chains"])]
    assert (pooled["members"] == 2).all() and not pooled["converged"].any()
