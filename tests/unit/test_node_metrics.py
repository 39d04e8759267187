"""Forged metrics: each is refused in one sentence that names the file and the key."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import synthetic

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import results, rows
from bayesian_lottery.running import work
from bayesian_lottery.study import node_metrics
from bayesian_lottery.training import metrics as measuring

NAN, INFINITY = float("nan"), float("inf")


def changed(metrics: dict, key: str, value: object) -> dict:
    """A copy with another value at the dotted key; `...` takes the key away."""
    metrics = copy.deepcopy(metrics)
    *folders, last = key.split(".")
    inner = metrics
    for name in folders:
        inner = inner[int(name) if isinstance(inner, list) else name]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return metrics


def forge(folder: Path, key: str, value: object) -> Path:
    """The file of a node at level 3, without a checksum, as a forger leaves it."""
    [path] = synthetic.write(folder, [synthetic.metrics(3)])
    path.write_text(json.dumps(changed(synthetic.metrics(3), key, value)))
    return path


def leaves(value: object, prefix: str = ""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{prefix}{key}"
            yield from leaves(inner, f"{prefix}{key}.")


UNNEEDED = {
    "settings.validation",  # of a node that trains, which a pool does not
    "provenance.versions", "provenance.versions.torch", "provenance.finished",
}  # fmt: skip
NEEDED = [key for key in leaves(synthetic.metrics(3)) if key not in UNNEEDED]


def test_metrics_are_those_that_training_measures():
    assert node_metrics.METRICS == measuring.METRICS


def ranked(results: object, passes: object) -> dict:
    metrics = synthetic.metrics(3)
    for statistic in node_metrics.STATISTICS:
        metrics = changed(metrics, f"results.{statistic}.auc", results)
    return changed(metrics, "passes.auc", passes)


def test_auc_may_be_there_and_be_undefined():
    count = len(synthetic.metrics(3)["passes"]["accuracy"])
    for results_of, passes in ((0.9, [0.9] * count), (None, None)):
        metrics = ranked(results_of, passes)
        node_metrics.check(metrics)
        assert rows.run(metrics)["peak_auc"] == results_of
    assert rows.run(synthetic.metrics(3))["peak_auc"] is None, "of before there were tables"


@pytest.mark.parametrize(
    ("results_of", "passes", "words"),
    [
        (1.1, [0.9] * 10, "'results.peak.auc' is 1.1"),
        (0.9, [0.9], "'passes.auc' is"),
        (0.9, "high", "'passes.auc' is 'high'"),
    ],
)
def test_a_forged_auc_is_refused(results_of, passes, words):
    with pytest.raises(InputError, match=words):
        node_metrics.check(ranked(results_of, passes))
    with pytest.raises(InputError, match=r"there just where passes\.auc is"):
        node_metrics.check(changed(synthetic.metrics(3), "results.peak.auc", 0.9))


@pytest.mark.parametrize("key", NEEDED)
def test_a_missing_key_is_named_with_its_file(tmp_path, key):
    path = forge(tmp_path, key, ...)
    with pytest.raises(InputError) as caught:
        results.tables([path])
    assert str(caught.value) == f"{path}: key {key!r} is missing."


TEST = {"step": 2, "test_accuracy": 0.5, "test_nll": 1.0}
SHIFT = {"shift": "noise", "strength": 1, "accuracy": 0.5, "nll": 1.0, "ece": 0.1}
FOREIGN = {"dataset": "other", "auroc_entropy": 0.7, "auroc_mutual_information": None}


def test_what_only_some_nodes_measure_may_be_there():
    measured = {"by_step": [TEST], "shifts": [SHIFT], "out_of_distribution": [FOREIGN]}
    node_metrics.check(synthetic.metrics(3) | measured)


FORGERIES = [
    # Not numbers, or impossible ones.
    ("results.peak.accuracy", NAN, "results.peak.accuracy"),
    ("results.final.nll", INFINITY, "results.final.nll"),
    ("results.final.nll", -INFINITY, "results.final.nll"),
    ("results.final.nll", -0.1, "results.final.nll"),
    ("results.selected.brier", 2.5, "results.selected.brier"),
    ("results.selected.entropy", 10**400, "results.selected.entropy"),
    ("results.peak.accuracy", 7, "results.peak.accuracy"),
    ("results.peak.ece", 1.01, "results.peak.ece"),
    ("results.peak.mutual_information", -1, "results.peak.mutual_information"),
    ("results.peak.accuracy", True, "results.peak.accuracy"),
    ("results.peak.accuracy", "0.9", "results.peak.accuracy"),
    ("results.peak.accuracy", None, "results.peak.accuracy"),
    ("results.peak.accuracy", [0.9], "results.peak.accuracy"),
    ("passes.accuracy.2", NAN, "passes.accuracy entry 3"),
    ("passes.mace.0", 2, "passes.mace entry 1"),
    ("passes.accuracy", [], "passes.accuracy"),
    ("passes.accuracy", [0.9], "passes."),
    ("passes.nll", 0.3, "passes.nll"),
    ("passes.nll", None, "passes.nll"),
    ("cost.seconds", -1, "cost.seconds"),
    ("cost.seconds", NAN, "cost.seconds"),
    ("cost.peak_memory_bytes", 10**30, "cost.peak_memory_bytes"),
    ("cost.peak_memory_bytes", 1.5, "cost.peak_memory_bytes"),
    ("cost.side_by_side", 0, "cost.side_by_side"),
    ("cost.resumed_at_steps", [-1], "cost.resumed_at_steps entry 1"),
    ("density", 3, "density"),
    ("density", NAN, "density"),
    ("density", -0.5, "density"),
    ("density", "half", "density"),
    ("density", None, "density"),
    ("survivors", True, "survivors"),
    ("survivors", 1.0, "survivors"),
    ("survivors", -1, "survivors"),
    ("prunable", 0, "prunable"),
    # Of what only some nodes measure.
    ("by_step", [{**TEST, "test_nll": NAN}], "by_step entry 1.test_nll"),
    ("by_step", [TEST, {**TEST, "validation_nll": "low"}], "by_step entry 2.validation_nll"),
    ("shifts", [{**SHIFT, "accuracy": 2}], "shifts entry 1.accuracy"),
    ("shifts", SHIFT, "shifts"),
    ("out_of_distribution", [{**FOREIGN, "dataset": 5}], "out_of_distribution entry 1.dataset"),
    # Each possible, and not together.
    ("density", 0.5, "density"),
    ("survivors", 10**6, "survivors"),
    ("survivors", 17, "survivors"),
    ("prunable", 10**6, "prunable"),
    ("layers.2.survivors", 5000, "layers entry 3.survivors"),
    ("layers.2.size", 1, "layers entry 3.survivors"),
    ("layers.2.survivors", 5, "survivors"),
    ("layers", [], "survivors"),
    ("layers.2", {"name": "a", "size": 2}, "layers entry 3.survivors"),
    ("layers.2.name", 5, "layers entry 3.name"),
    ("layers", {"a": 1}, "layers"),
    ("results.peak.epoch", 41, "results.peak.epoch"),
    ("results.peak.epoch", 0, "results.peak.epoch"),
    ("results.final.accuracy", 0.9999, "results.final.accuracy"),
    ("results.final.mutual_information", None, "results.final.mutual_information"),
    ("passes.mutual_information", None, "results.peak.mutual_information"),
    # Of another node, or of none.
    ("node.level", 4, "node"),
    ("node.seed", 1, "node"),
    ("node.seed", 2**63, "node.seed"),
    ("node.model", "vgg11", "settings.model"),
    ("node.dataset", "cifar10", "settings.dataset"),
    ("node.inference", "deterministic", "node"),
    ("node.curriculum", "../x", "node"),
    ("node.scorer", "mu", "node"),
    ("node.scorer", None, "node.scorer"),
    ("node.rewind", "lrr", "node"),
    ("node.search", "one_shot", "node"),
    ("node.search", None, "node"),
    ("node.search", 5, "node.search"),
    ("connected", 1, "connected"),
    ("node.branch", "reinit", "node.replicate"),
    ("node.replicate", 0, "node.replicate"),
    ("node.level", 0, "node.scorer"),
    ("node.level", "3", "node.level"),
    ("node", [], "node"),
    ("settings.curriculum.epochs", 0, "settings.curriculum.epochs"),
    ("settings.evaluation.every", 0, "settings.evaluation.every"),
    ("settings.bayesian", 5, "settings.bayesian"),
    ("settings.bayesian", {"samples": 0}, "settings.bayesian.samples"),
    ("settings.bayesian", {"estimator": ["flipout"]}, "settings.bayesian.estimator"),
    ("settings.kind", [], "settings.kind"),
    ("provenance.device", None, "provenance.device"),
    ("provenance.computation", "new", "provenance.computation"),
    ("provenance.computation", None, "provenance.computation"),
    ("results", [], "results"),
]


@pytest.mark.parametrize(("key", "value", "named"), FORGERIES)
def test_a_forgery_is_refused(tmp_path, key, value, named):
    path = forge(tmp_path, key, value)
    with pytest.raises(InputError) as caught:
        results.tables([path])
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: key '{named}") and sentence.endswith(".")
    assert len(sentence) < len(str(path)) + 200 and "\n" not in sentence
    assert work.runs(tmp_path) == {}


@pytest.mark.parametrize("text", ["[]", "null", "3", '"text"'])
def test_other_json_is_refused(tmp_path, text):
    path = forge(tmp_path, "density", 1)
    path.write_text(text)
    with pytest.raises(InputError, match=f"{path}: its content is .* must be a mapping"):
        node_metrics.read(path)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a": ' + "1" * 5000 + "}", "\xff{}"])
def test_what_is_no_json_is_refused(tmp_path, text):
    path = forge(tmp_path, "density", 1)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"{path}: not a complete JSON file"):
        node_metrics.read(path)


def test_a_search_is_spelled_in_the_folder_and_a_dense_network_has_none(tmp_path):
    [path] = synthetic.write(tmp_path, [synthetic.metrics(3, search="one_shot")])
    assert path.parent.parent.name == "snr_imp_one_shot"
    assert node_metrics.coordinates(node_metrics.read(path))["search"] == "one_shot"
    [dense] = synthetic.write(tmp_path, [synthetic.metrics(0)])
    dense.write_text(json.dumps(changed(synthetic.metrics(0), "node.search", "one_shot")))
    with pytest.raises(InputError, match=r"key 'node\.search' is 'one_shot'; it must be absent"):
        node_metrics.read(dense)


def test_a_copied_folder_is_no_node(tmp_path):
    """Neither that of another level nor one that no configuration has."""
    [path] = synthetic.write(tmp_path, [synthetic.metrics(3)])
    for name in ("level04", "level3", "extra"):
        copied = path.parent.with_name(name)
        shutil.copytree(path.parent, copied)
        with pytest.raises(InputError, match=f"{copied}/metrics.json: key 'node' is that of"):
            node_metrics.read(copied / "metrics.json")
    assert list(work.runs(tmp_path)) == [path.parent.relative_to(tmp_path).as_posix()]


def test_a_value_edited_by_hand_is_noticed(tmp_path):
    [path] = synthetic.write(tmp_path, [synthetic.metrics(3)])
    path.write_text(path.read_text().replace('"ece": 0.05', '"ece": 0.04'))
    with pytest.raises(InputError, match=r"damaged \(its checksum"):
        node_metrics.read(path)


def test_what_rounding_makes_and_further_keys_are_allowed(tmp_path):
    metrics = synthetic.metrics(3)
    metrics["results"]["final"] |= {"nll": -1e-8, "ece": 1 + 1e-8, "more": "of it"}
    metrics["results"]["best"] = metrics["passes"]["other"] = metrics["note"] = 5
    metrics["provenance"]["computation"] = 2
    [path] = synthetic.write(tmp_path, [metrics])
    found = node_metrics.read(path)
    assert found == metrics and node_metrics.computation(found) == 2


def test_metrics_are_found_from_within_their_folder(tmp_path, monkeypatch):
    [path] = synthetic.write(tmp_path, [synthetic.metrics(3)])
    monkeypatch.chdir(path.parent)
    assert node_metrics.read("metrics.json")["node"]["level"] == 3
