"""Published units: what seeds that ran apart have kept makes the whole study's tables again."""

import shutil
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
import yaml

from bayesian_lottery import study
from bayesian_lottery.files import write_json, write_tensors
from bayesian_lottery.findings import (
    agreement,
    exported,
    figures,
    last_levels,
    overlaps,
    published,
    publishing,
    redrawing,
    results,
)
from bayesian_lottery.findings.figures import style
from bayesian_lottery.findings.figures.files import shown_files
from bayesian_lottery.study import Node, configuration
from bayesian_lottery.tickets import masks

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
SEEDS, DRAWS, LAYERS = (0, 1, 2), 12, {"layers.0.weight": (100, 64), "layers.1.weight": (50, 100)}
TRUNK = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "short", "seeds": [*SEEDS]}
DETERMINISTIC = {"inference": "deterministic", "scorer": "magnitude", "search": "iterative"}
CONFIGURATION = {
    "datasets": {"digits": {"source": "digits", "validation": 0.1}},
    "curricula": {"short": {"epochs": 7, "learning_rate": 0.005}},
    "prune_fraction": 0.7,
    "searches": {"early_bird": {"kind": "early", "levels": 3, "window": 2}},
    "inferences": {"chain": {"kind": "sghmc"}},
    "branch_kinds": {
        "from_ticket": {"inference": "chain"},
        "chains": {"pool": "from_ticket", "members": 2},
        "over_seeds": {"pool": "seeds", "members": 2},
    },
    "trunks": [
        {**TRUNK, **DETERMINISTIC, "search": ["iterative", "one_shot", "early_bird"], "levels": 3},
        {**TRUNK, "inference": "bayesian", "scorer": "snr", "levels": 3},
    ],
    "branches": [
        {**DETERMINISTIC, "branch": "from_ticket", "levels": [2], "replicates": 2},
        {**DETERMINISTIC, "branch": "chains", "levels": [2]},
        {**DETERMINISTIC, "branch": "over_seeds", "levels": [2], "seeds": [0]},
    ],
    "exports": [
        {"levels": [1, 2], "formats": ["csr", "packed"], "inference": "deterministic",
         "search": "iterative"}
    ],
}  # fmt: skip


SHIFT = {"shift": "noise", "strength": 1, "accuracy": 0.8, "nll": 1.0, "ece": 0.1}
MEASURED = {
    "predicts": None, "samples": 1,
    "bytes": 900, "weights_bytes": 800, "dense_bytes": 8000, "threads": 1, "slower": "",
    "predictions": {"accuracy": 0.9, "nll": 0.3, "ece": 0.1, "dense_accuracy": 0.9},
    "speed": [{"batch": 1, "seconds": 0.1, "dense_seconds": 0.2, "times_as_fast": 2.0}],
}  # fmt: skip


def drawn(words: str) -> np.random.Generator:
    """A stream of its own for each `words`."""
    return np.random.default_rng(zlib.crc32(words.encode()))


def make(config, nodes) -> None:
    """Make up all files of the nodes that published units take something of."""
    for node in nodes:
        folder = Path(config["results"], node.folder)
        made = synthetic.metrics(**node.coordinates())
        made["sampling"] = {"gradients": 10 + node.level}
        members = study.members(config, node)
        if members:
            made["sampling"]["gradients"] = None
            made["members"] = [member.coordinates() for member in members]
        made["shifts"] = [SHIFT]
        write_json(folder / "metrics.json", made)
        values = drawn(node.folder).random((30, 10)).astype(np.float32)
        probabilities = torch.from_numpy(values).softmax(-1).half()
        write_tensors(folder / "predictions.safetensors", {"probabilities": probabilities})
        if study.keeps_draws(config, node) and not members:
            draws = torch.from_numpy(drawn(node.folder).random((DRAWS, 100, 10)))
            own = {"log_likelihood": draws.sum((1, 2)), "probabilities": draws.softmax(-1).half()}
            write_tensors(folder / "draws.safetensors", own)
        if node.level and not node.branch:
            path = Path(study.mask_file(config, node))
            if not path.exists():  # as one-shot's first one, which is the iterative search's
                masks.save(path, mask_of(node))
    for node in study.exported(config, study.expand(config)).keys() & set(nodes):
        rows = [
            {"format": n, "predicts": None, "samples": 1, **MEASURED} for n in ("csr", "packed")
        ]
        told = {"node": node.coordinates(), "density": 0.3, "exports": rows}
        told["provenance"] = {"device": "cpu"}
        write_json(Path(config["results"], node.folder, "exports.json"), told)
    for path, node in study.distance_files(config, nodes).items():
        epochs = range(1, 5)
        seen = {"epoch": epochs, "level": 1, "survivors": 100, "distance": 0.1, "seconds": 1.0}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({**seen, "drawn": [node.seed == epoch for epoch in epochs]}).to_csv(path)


def mask_of(node: Node) -> dict:
    """Of an iterative search, a mask within that of the level before; of others any."""
    trunk = replace(node, level=1) if node.search == "iterative" else node
    stream = drawn(trunk.folder)
    kept = {name: stream.random(shape) < 0.3**node.level for name, shape in LAYERS.items()}
    return {name: torch.from_numpy(layer) for name, layer in kept.items()}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """The study, and where its results lie as one and, a folder each, as its seeds ran apart."""
    root = tmp_path_factory.mktemp("made")
    (root / "small.yaml").write_text(yaml.safe_dump(CONFIGURATION))
    config, nodes = configuration.load([root / "small.yaml"], [], SCHEMA)
    make({**config, "results": str(root / "whole")}, nodes)
    for seed in SEEDS:
        own = [node for node in nodes if node.seed == seed]
        # What a pool of seeds averages is made by the unit that has the pool.
        own += [member for node in own for member in study.members(config, node)]
        make({**config, "results": str(root / f"seed{seed}")}, list(dict.fromkeys(own)))
    return root, config, nodes


@pytest.fixture(scope="module")
def small(loaded):
    """The study, published seed by seed."""
    root, config, nodes = loaded
    for seed in SEEDS:
        own = [node for node in nodes if node.seed == seed]
        apart = {**config, "results": str(root / f"seed{seed}")}
        folder = root / f"published/small/seed{seed}"
        publishing.publish(apart, own, folder, "snakemake", ["small.yaml"])
    return root / "published/small"


def whole(loaded) -> published.Tables:
    """The tables as the workflow makes them of the whole study."""
    root, config, nodes = loaded
    config = {**config, "results": str(root / "whole")}
    files = [Path(config["results"], node.folder, "metrics.json") for node in nodes]
    tables = results.tables(files)
    asked = study.exported(config, study.expand(config))
    return published.Tables(
        *tables,
        overlaps.distances(study.distance_files(config, nodes)),
        overlaps.table(config, study.pairs(config, nodes)),
        exported.table(Path(config["results"], node.folder, "exports.json") for node in asked),
        agreement.table(tables.runs, study.arms(config)["arms"], {}, config["results"]),
    )


def test_units_that_ran_apart_make_the_tables_of_the_whole_study(loaded, small):
    again = published.read(small)
    expected = whole(loaded)._asdict()
    dense = expected["overlaps"].query("compared == 'seed' and level == 1")
    assert len(dense)
    expected["overlaps"] = expected["overlaps"].drop(dense.index)  # at 30 %, which no unit keeps
    for name, table in expected.items():
        ours, keys = getattr(again, name), list(table.columns)
        assert len(table), name
        ordered = (
            frame.sort_values(keys, na_position="first", ignore_index=True)
            for frame in (ours, table)
        )
        pd.testing.assert_frame_equal(*ordered)
    assert set(again.overlaps["compared"]) == {"way", "seed", "inference"}
    assert len(again.agreement) == len(SEEDS) * 2 + 1, "tickets and chains; a pool of seeds"
    assert len(again.exports) == len(SEEDS) * 2 * 2


def test_masks_of_units_that_kept_all_levels_are_compared(loaded, monkeypatch):
    root, config, nodes = loaded
    monkeypatch.setattr(last_levels, "DENSEST", 1)
    config = {**config, "results": str(root / "whole")}
    kept = last_levels.table(config, last_levels.trunks(config, nodes)).drop(columns="first")
    ours = last_levels.overlaps_of_seeds(kept)
    expected = whole(loaded).overlaps.query("compared == 'seed'")
    assert set(ours["level"]) == {1, 2, 3} and len(ours) == len(expected)


def test_what_is_not_there_is_told(loaded, tmp_path, monkeypatch):
    root, config, nodes = loaded
    results_there = shutil.copytree(root / "seed1", tmp_path / "results")
    own = [node for node in nodes if node.seed == 1]
    next(results_there.rglob("distances.csv")).unlink()
    next(results_there.rglob("exports.json")).unlink()
    (node,) = (n for n in own if n.search == "one_shot" and n.level == 3 and not n.branch)
    apart = {**config, "results": str(results_there)}
    Path(study.mask_file(apart, node)).unlink()
    monkeypatch.setattr(last_levels, "MOST", 1000)
    made = publishing.publish(apart, own, tmp_path / "small/seed1", "x", ["small.yaml"])
    assert made["lacking"] == {"distances": 1, "overlaps": 1, "exports": 1, "last_levels": 2}
    for pruned in results_there.rglob("level*/metrics.json"):
        pruned.unlink()
    made = publishing.publish(apart, own, tmp_path / "dense/seed1", "x", ["small.yaml"])
    assert made["left"] and not made["lacking"], "of what is not done, nothing else is missed"
    again = published.read(tmp_path / "small")
    assert again.distances is None and set(again.overlaps["compared"]) == {"way", "inference"}


def test_the_targets_of_a_unit_are_what_it_publishes(loaded):
    root, config, _ = loaded
    command = [sys.executable, ROOT / "scripts/list_metrics.py", "--seeds", "1"]
    command += ["--configfile", root / "small.yaml"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    there = (root / "seed1").rglob("*.json")
    assert sorted(run.stdout.split()) == sorted(
        f"{config['results']}/{path.relative_to(root / 'seed1')}" for path in there
    )


@pytest.mark.slow
def test_all_is_drawn_again_from_what_units_keep(loaded, small):
    root, config, nodes = loaded
    style_file = ROOT / "config/figures.mplstyle"
    drawn = redrawing.redraw(small, published.read(small), config, style_file)
    numbers = {int(path.stem.removeprefix("figure")) for path in small.glob("*.png")}
    assert numbers >= {1, 2, 10, 11, 12, 13, 14, 15, 16}
    assert {"table2", "table3"} <= drawn.keys()
    assert drawn.keys() == redrawing.redraw(small, published.read(small), config, None).keys()
    kept = {"results": str(root / "whole")}
    files = files_beside("figure16", config | kept, nodes)
    options = figures.options_of("figure16", config)
    with style.applied(style_file):
        made = figures.draw("figure16", whole(loaded)._asdict(), options, files)
        figures.save(made, root / "whole.png")
    assert (root / "whole.png").read_bytes() == (small / "figure16.png").read_bytes()


def files_beside(name: str, config, nodes) -> dict[str, str]:
    plan = figures.plan(
        name, [node.coordinates() for node in nodes], figures.options_of(name, config)
    )
    return shown_files(plan, config)
