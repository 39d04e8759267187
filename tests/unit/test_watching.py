"""Masks drawn early in the training of the dense network: when, which, and after a kill."""

from pathlib import Path

import pandas as pd
import pytest
from small_study import SmallStudy, interrupted

from bayesian_lottery import study as studies
from bayesian_lottery.computation import VERSION
from bayesian_lottery.running import work
from bayesian_lottery.tickets import masks, rankings
from bayesian_lottery.training import jobs, watching

SEARCHES = {
    "late": {"kind": "early", "window": 9, "latest": 1.0},
    "soon": {"kind": "early", "window": 2, "distance": 0.036, "latest": 0.9},
}
SCORERS = {"deterministic": "magnitude", "bayesian": "snr"}
LEVELS = 4
EPOCHS = 8


@pytest.fixture
def study(tmp_path) -> SmallStudy:
    shared = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "long", "seeds": [0]}
    trunks = [
        {**shared, "inference": inference, "scorer": scorer, "levels": LEVELS,
         "search": [*SEARCHES, "one_shot"]}
        for inference, scorer in SCORERS.items()
    ]  # fmt: skip
    curricula = {"long": {"epochs": EPOCHS, "learning_rate": 0.003, "batch_size": 32}}
    return SmallStudy(tmp_path, trunks=trunks, branches=[], curricula=curricula, searches=SEARCHES)


def watch(study, search, inference, checkpoint_seconds=1000.0) -> pd.DataFrame:
    """Do what the workflow's job does; gives its table."""
    dense = study.node("lenet_100_50", inference, "long")
    level = study.node("lenet_100_50", inference, "long", level=1, search=search)
    task = studies.watching_task(study.config, level)
    inputs = study.inputs(dense)
    outputs = mask_files(study, search, inference)
    table = outputs[0].with_name("distances.csv")
    watching.watch_dense(
        task["node"], task["settings"], Path(inputs["data"]), Path(inputs["initial"]), outputs,
        table, device="cpu", checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
    return pd.read_csv(table)


def mask_files(study, search, inference) -> list[Path]:
    """What the levels of the trunk start from."""
    nodes = [
        study.node("lenet_100_50", inference, "long", level=level, search=search)
        for level in range(1, LEVELS + 1)
    ]
    return [Path(study.inputs(node)["mask"]) for node in nodes]


def test_what_another_version_of_the_computation_saw_is_named(study, monkeypatch):
    watch(study, "soon", "deterministic")
    assert work.outdated(study.config, {}, study.nodes) == []
    monkeypatch.setattr(work, "VERSION", VERSION + 1)
    [path] = work.outdated(study.config, {}, study.nodes)
    assert path.endswith("distances.csv") and Path(path).exists()


@pytest.mark.parametrize("inference", SCORERS)
def test_drawn_at_the_end_of_training_they_are_those_of_one_shot(study, inference):
    """So the network that is watched is the dense one, to the bit."""
    dense = study.node("lenet_100_50", inference, "long")
    study.train(dense)
    seen = watch(study, "late", inference)
    assert seen["epoch"].max() == EPOCHS and (seen[seen["drawn"]]["epoch"] == EPOCHS).all()
    task = study.task(dense)
    for level, file in enumerate(mask_files(study, "late", inference), 1):
        out = file.with_name("expected")
        jobs.prune_dense(
            task.node, task.settings, task.inputs.data, task.outputs.weights,
            SCORERS[inference], out, "cpu", level,
        )  # fmt: skip
        assert file.read_bytes() == out.read_bytes()
    assert sorted(path.name for path in file.parent.iterdir() if path.name != ".lock") == [
        "distances.csv",
        "expected",
        *(f"level{level:02}.safetensors" for level in range(1, LEVELS + 1)),
    ]


@pytest.mark.parametrize("inference", SCORERS)
def test_a_mask_is_drawn_when_its_last_distances_are_small_and_training_ends_with_the_last(
    study, inference
):
    seen = watch(study, "soon", inference)
    for level, rows in seen.groupby("level"):
        [drawn] = rows[rows["drawn"]]["epoch"]
        assert rows["distance"].isna().tolist() == [True] + [False] * (len(rows) - 1)
        pairs = rows["distance"].rolling(2).max()
        stable = rows["epoch"][pairs <= 0.036]
        assert drawn == min(stable.min() if len(stable) else EPOCHS, int(0.9 * EPOCHS)), level
    assert seen["epoch"].max() == seen[seen["drawn"]]["epoch"].max() < EPOCHS
    assert seen[seen["drawn"]]["epoch"].nunique() > 1, "levels are drawn apart"
    counts = [masks.survivors(masks.load(f)) for f in mask_files(study, "soon", inference)]
    assert counts == seen.drop_duplicates("level")["survivors"].tolist()
    size = masks.size(masks.load(mask_files(study, "soon", inference)[0]))
    assert counts == [rankings.left(size, 0.2, level) for level in range(1, LEVELS + 1)]


@pytest.mark.parametrize("inference", SCORERS)
def test_a_watch_goes_on_after_kills_as_if_there_had_been_none(study, monkeypatch, inference):
    whole = watch(study, "soon", inference).drop(columns="seconds")
    files = mask_files(study, "soon", inference)
    expected = [file.read_bytes() for file in files]
    for file in files:
        file.unlink()
    for after in (7, 8):  # five steps an epoch
        interrupted(monkeypatch, after, lambda: watch(study, "soon", inference, 0))
    assert (files[0].parent / "seen.safetensors").exists()
    again = watch(study, "soon", inference).drop(columns="seconds")
    pd.testing.assert_frame_equal(again, whole)
    assert [file.read_bytes() for file in files] == expected


def test_without_what_it_has_seen_a_watch_starts_anew(study, monkeypatch):
    whole = watch(study, "soon", "deterministic").drop(columns="seconds")
    interrupted(monkeypatch, 9, lambda: watch(study, "soon", "deterministic", 0))
    folder = mask_files(study, "soon", "deterministic")[0].parent
    (folder / "seen.safetensors").write_bytes(b"half a file")
    again = watch(study, "soon", "deterministic").drop(columns="seconds")
    pd.testing.assert_frame_equal(again, whole)
