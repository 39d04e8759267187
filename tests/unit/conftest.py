"""Made-up studies that several modules of tests read, each made once, and not to be changed; and
one thread for torch: beside other tests more of them only wait for one another."""

from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def trunks(tmp_path_factory) -> dict:
    """The tables of trunks of two models."""
    import synthetic
    import synthetic_tables

    nodes = synthetic.study(models=("resnet20", "vit_tiny"), seeds=(0, 1), levels=6)
    return synthetic_tables.tables(tmp_path_factory.mktemp("trunks"), nodes)


@pytest.fixture(scope="session")
def whole_study(tmp_path_factory) -> SimpleNamespace:
    """A study that feeds every figure: the folder of its files, and its tables."""
    import synthetic
    import synthetic_posteriors
    import synthetic_tables

    root = tmp_path_factory.mktemp("whole")
    nodes = [*synthetic.full(), *synthetic_posteriors.branches()]
    return SimpleNamespace(root=root, tables=synthetic_tables.tables(root, nodes))


@pytest.fixture(scope="session")
def whole(whole_study) -> dict:
    """The tables of a study that feeds every figure."""
    return whole_study.tables


@pytest.fixture(scope="session")
def files(whole_study, tmp_path_factory) -> dict[str, Path]:
    """The masks and initial weights of figure 3, and the draws of figure 16."""
    import synthetic_masks
    import synthetic_posteriors

    from bayesian_lottery.findings import figures, results

    nodes = results.nodes(whole_study.tables["runs"])
    plan = figures.plan("figure16", nodes, synthetic_posteriors.TOLD)
    chains = synthetic_posteriors.chain_files(whole_study.root, plan)
    return {**synthetic_masks.files(tmp_path_factory.mktemp("masks")), **chains}
