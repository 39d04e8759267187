"""Tables: what becomes of their columns, and the sentences that meet those that are unfit."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
import torch
from small_study import SCHEMA

from bayesian_lottery.data import decoded, sources
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json
from bayesian_lottery.findings import results
from bayesian_lottery.study import configuration
from bayesian_lottery.study.datasets import images_of
from bayesian_lottery.training import jobs


def frame(rows: int = 40) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "amount": 1e9 + random.normal(size=rows) * 5,
            "country": random.choice(["FR", "IT", "NL"], rows),
            "fraud": np.arange(rows) % 4 == 0,
            "night": random.integers(0, 2, rows).astype(bool),
            "same": 7,
        }
    )


def written(folder, table: pd.DataFrame, suffix: str = ".csv", **settings) -> dict:
    """The settings of a table that is written to a file."""
    path = folder / f"table{suffix}"
    table.to_parquet(path) if suffix == ".parquet" else table.to_csv(path, index=False)
    return {"source": "table", "root": str(path), "target": "fraud", **settings}


def prepared(folder, given: dict) -> decoded.Images:
    sources.prepare("cards", given, folder / "cards.safetensors")
    return decoded.load(folder / "cards.safetensors")


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_numbers_are_standardised_and_categories_one_hot_by_the_training_rows(tmp_path, suffix):
    given = written(tmp_path, frame(), suffix)
    assert sources.check("cards", given) == ((7, 1, 1), [24, 8])
    images = prepared(tmp_path, given)
    assert images.classes == ("False", "True") and images.image_shape == (7, 1, 1)
    words = ["country=FR", "country=IT", "country=NL", "night=False", "night=True"]
    assert images.columns == ("amount", "same", *words)
    assert len(images.train) == 32 and images.test.labels.tolist().count(1) == 2
    train, test = (split.images[:, :, 0, 0] for split in (images.train, images.test))
    assert train[:, 0].mean().item() == pytest.approx(0, abs=1e-6)
    assert train[:, 0].std(correction=0).item() == pytest.approx(1)
    assert (torch.cat([train, test])[:, 1] == 0).all() and images.std[1] == 1

    # Each row is found again, by its amount.
    table = frame()
    for rows, split in ((train, images.train), (test, images.test)):
        for row, label in zip(rows, split.labels, strict=True):
            amount = row[0].double() * images.std[0].double() + images.mean[0].double()
            original = table.iloc[(table["amount"] - amount.item()).abs().argmin()]
            assert label == original["fraud"]
            chosen = [word for word, value in zip(words, row[2:], strict=True) if value == 1]
            assert chosen == [f"country={original['country']}", f"night={original['night']}"]
            assert row[2:].sum() == 2


def test_columns_are_chosen_by_name_and_numbers_may_be_categories(tmp_path):
    given = written(tmp_path, frame(), categorical=["same"], numeric=["amount"])
    assert prepared(tmp_path, given).columns == ("amount", "same=7")


def test_a_category_that_no_training_row_has_is_zero_in_all_columns(tmp_path):
    table = frame()
    before = prepared(tmp_path, written(tmp_path, table))
    amounts = before.test.images[:, 0, 0, 0].double() * before.std[0] + before.mean[0]
    tested = (table["amount"] - amounts[0].item()).abs().argmin()
    table.loc[tested, "country"] = "ZZ"
    images = prepared(tmp_path, written(tmp_path, table))
    assert images.columns == before.columns
    assert (images.test.images[:, 2:5].sum((1, 2, 3)) == 0).sum() == 1


@pytest.mark.parametrize(
    ("change", "given", "words"),
    [
        ({}, {"target": None}, "target: missing"),
        ({}, {"target": "froud"}, "target: 'froud' is not known; choose from amount, country"),
        ({}, {"numeric": ["amnt"]}, "numeric: 'amnt' is not known"),
        ({}, {"numeric": ["country"]}, "numeric: the column 'country' holds more than numbers"),
        ({}, {"numeric": ["same"], "categorical": ["same"]}, "'same' is categorical too"),
        ({}, {"categorical": ["fraud"]}, "categorical: 'fraud' is the target"),
        ({}, {"numeric": []}, "has no column beside the target"),
        ({"fraud": 1}, {}, "the column 'fraud' has 1 class where two are the least"),
        ({"fraud": [1] + [0] * 39}, {}, "has too few rows of the class 1 to test on 0.2 of it"),
        ({"amount": [np.nan, np.nan] + [0.0] * 38}, {}, "lacks values, 2 in amount"),
        ({"fraud": [None] + [True, False] * 19 + [True]}, {}, "lacks values, 1 in fraud"),
        ({"amount": [np.inf] + [0.0] * 39}, {}, "numbers beyond 1e30 in amount"),
        (
            {},
            {"size": 3},
            "size: 3 given, but the source table takes none; it goes with imagefolder",
        ),
        (
            {},
            {"source": "digits", "root": None},
            "target: 'fraud' given, but the source digits takes none;",
        ),
        ({}, {"root": __file__}, "is not of a known kind; give a table, .csv, .csv.gz or .parquet"),
        ({}, {"root": "nowhere.csv"}, "root: 'nowhere.csv' does not exist; give a table"),
        ({}, {"images": 32}, "images: 32 is not fewer than the 32 training images; leave it"),
        ({}, {"images": 2}, "images: 2 of the 32 training images would leave none of the small"),
    ],
)
def test_what_is_unfit_is_refused_in_one_sentence(tmp_path, change, given, words):
    settings = {**written(tmp_path, frame().assign(**change)), **given}
    for function in (sources.check, sources.prepare):
        out = [tmp_path / "out"] if function is sources.prepare else []
        with pytest.raises(InputError) as caught:
            function("cards", settings, *out)
        sentence = str(caught.value)
        assert sentence.startswith("datasets.cards.") and words in sentence, sentence
        assert sentence.endswith(".") and "\n" not in sentence
    assert not (tmp_path / "out").exists()


def test_a_column_of_too_many_categories_and_a_broken_file_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.tables, "MOST", 2)
    with pytest.raises(InputError, match="'country' has 3 different values, and 2 are the most"):
        sources.check("cards", written(tmp_path, frame()))
    for suffix in sources.tables.SUFFIXES:
        given = written(tmp_path, frame(), suffix)
        (tmp_path / f"table{suffix}").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(InputError, match="is no table that can be read"):
            sources.check("cards", given)


def test_a_damaged_archive_of_a_table_is_refused(tmp_path):
    given = written(tmp_path, frame(), ".csv.gz")
    path = tmp_path / "table.csv.gz"
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], gzip.compress(b"a,b")[:10] + b"\xff" * 50):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is no table that can be read"):
            sources.check("cards", given)


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}])
@pytest.mark.parametrize("column", ["country", "fraud"])
def test_a_column_of_lists_or_mappings_is_refused(tmp_path, column, value):
    given = written(tmp_path, frame().assign(**{column: [value] * 40}), ".parquet")
    with pytest.raises(InputError, match=f"has lists or mappings in the column '{column}'"):
        sources.check("cards", given)


def test_breast_cancer_is_as_the_registry_says(tmp_path):
    given = {"source": "breast_cancer"}
    shape, counts = sources.check("cancer", given)
    images = prepared(tmp_path, given)
    assert (len(images.train), len(images.test)) == sources.SOURCES["breast_cancer"].sizes
    assert images.image_shape == shape and len(images.classes) == len(counts)
    assert images.classes == ("benign", "malignant") and images.ranked
    counts = torch.cat([images.train.labels, images.test.labels]).bincount().tolist()
    assert counts == [357, 212]


# In a study

STUDY = {
    "datasets": {"cancer": {"source": "breast_cancer", "validation": 0.2}},
    "curricula": {"short": {"epochs": 3, "learning_rate": 0.01, "batch_size": 32}},
    "bayesian": {"samples": 2},
    "evaluation": {"samples": 2, "passes": 2},
    "trunks": [
        {
            **{"dataset": "cancer", "model": "lenet_100_50", "curriculum": "short"},
            **{"inference": inference, "scorer": scorer, "seeds": [0], "levels": 1},
        }
        for inference, scorer in (("deterministic", "magnitude"), ("bayesian", "snr"))
    ],
}


def load(folder, **changes):
    (folder / "study.yaml").write_text(json.dumps({**STUDY, "results": str(folder), **changes}))
    return configuration.load([folder / "study.yaml"], [], SCHEMA)


def test_batches_and_rewinds_beyond_the_training_rows_are_refused_before_any_job(tmp_path):
    cards = {**written(tmp_path, frame()), "validation": 0.2}
    short = {**STUDY["curricula"]["short"], "batch_size": 25}
    load(tmp_path, datasets={"cancer": cards}, curricula={"short": short})
    late = [{**STUDY["trunks"][0], "rewind": "late_step"}]
    own = {"rewinds": {"late_step": {"kind": "late", "steps": 4}}, "trunks": late}
    with pytest.raises(InputError, match=r"step 4 lies beyond 3, the last step of training"):
        load(tmp_path, datasets={"cancer": cards}, curricula={"short": short}, **own)
    short["batch_size"] = 26
    with pytest.raises(
        InputError, match=r"batch_size: 26 is more than the 25 training images of c"
    ):
        load(tmp_path, datasets={"cancer": cards}, curricula={"short": short})


@pytest.mark.slow
def test_a_ticket_is_found_and_auc_is_in_metrics_and_tables(tmp_path):
    from sklearn.metrics import roc_auc_score

    from bayesian_lottery import study
    from bayesian_lottery.files import read_tensors

    config, nodes = load(tmp_path)
    data = study.data_file(config, "cancer")
    sources.prepare("cancer", config["datasets"]["cancer"], data)
    known = images_of(config, "cancer")
    assert known.stored_bytes == 569 * (4 * 30 + 8)
    labels = decoded.load(data).test.labels
    for node in nodes:
        files = study.files(config, node)
        if node.level == 0:
            jobs.initialise(data, node.model, node.seed, files["inputs"]["initial"])
        outputs = {k: v for k, v in files["outputs"].items()}
        task = jobs.Task(
            node.coordinates(),
            study.node_settings(config, node),
            jobs.Inputs(**files["inputs"]),
            jobs.Outputs(**{k: _paths(v) for k, v in outputs.items()}),
        )
        jobs.train_nodes([task], "cpu", 1000)
        metrics = read_json(outputs["metrics"])
        predicted, _ = read_tensors(outputs["predictions"])
        scores = predicted["probabilities"][:, 1].float()
        assert metrics["results"]["final"]["auc"] > 0.9
        assert metrics["passes"]["auc"][0] == pytest.approx(roc_auc_score(labels, scores), abs=2e-3)
    runs = results.tables([study.node_outputs(config, node)["metrics"] for node in nodes]).runs
    assert runs["peak_auc"].between(0.9, 1).all()
    assert runs["passes_mean_average_precision"].between(0.9, 1).all()


def _paths(value):
    from pathlib import Path

    return {k: Path(v) for k, v in value.items()} if isinstance(value, dict) else Path(value)


@pytest.mark.parametrize(
    ("dataset", "model", "words"),
    [
        ({}, "resnet8_slim", "resnet8_slim does not take images of 1 x 1 pixels"),
        ({"augment": {"crop": 1}}, "lenet_100_50", "augment.crop: 1 must be below the 1 pixels"),
        ({"augment": {"flip": True}}, "lenet_100_50", "a row of a table, has no sides"),
    ],
)
def test_what_needs_pixels_is_refused(tmp_path, dataset, model, words):
    datasets = {"cancer": {"source": "breast_cancer", **dataset}}
    with pytest.raises(InputError, match=words):
        load(tmp_path, datasets=datasets, trunks=[{**STUDY["trunks"][0], "model": model}])


@pytest.mark.parametrize(
    "evaluation", [{"shifts": ["blur"]}, {"out_of_distribution": ["cancer", "digits"]}]
)
def test_shifts_of_images_are_refused_for_tables(tmp_path, evaluation):
    datasets = {**STUDY["datasets"], "digits": {"source": "digits"}}
    for trunk in (STUDY["trunks"][0], {**STUDY["trunks"][0], "dataset": "digits"}):
        if "shifts" not in evaluation or trunk["dataset"] == "cancer":
            with pytest.raises(InputError, match=r"it is of images, and cancer is a table"):
                load(tmp_path, datasets=datasets, trunks=[trunk], evaluation=evaluation)
