"""What a node's `metrics.json` must hold, and reading one: no number is believed unseen.

Needs neither torch nor pandas, so that a study's state is known fast.
"""

import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json
from bayesian_lottery.inference.kinds import kind_name, options_of
from bayesian_lottery.study import LATER, Node, filled

# The names in `metrics.METRICS`, whose module needs torch; a test keeps the two equal.
METRICS = ("accuracy", "nll", "brier", "ece", "mace", "entropy", "mutual_information")

# What is measured besides, of tables with two classes: how well the second one is told apart.
RANKING = ("auc", "average_precision")

# Which epoch a result is from: the best on the test images, the last, or the best on the
# validation images.
STATISTICS = ("peak", "final", "selected")

_ROUNDING = 1e-6  # by which a float32 mean may leave its interval


@dataclass(frozen=True)
class Kind:
    """What a value may be: its Python types (exactly: true is no number), and for numbers limits.

    The largest float as a limit refuses NaN and infinity.
    """

    words: str
    types: tuple[type, ...]
    low: float = -sys.float_info.max
    high: float = sys.float_info.max

    def allows(self, value: Any) -> bool:
        """Whether `value` is of this kind."""
        return type(value) in self.types and (
            str in self.types or self.low <= value <= self.high  # no int is too large to compare
        )


def _number(words: str, high: float = sys.float_info.max) -> Kind:
    return Kind(words, (int, float), -_ROUNDING, high + _ROUNDING)


TEXT = Kind("text", (str,))
COUNT = Kind("a whole number of at least 0", (int,), 0, 2**63 - 1)  # the tables' integers
POSITIVE = Kind("a whole number of at least 1", (int,), 1, 2**63 - 1)
NUMBER = Kind("a finite number", (int, float))
AMOUNT = _number("a finite number of at least 0")
SHARE = _number("a number from 0 to 1", 1)
TRUTH = Kind("true or false", (bool,), 0, 1)

_MEASURED = {
    **dict.fromkeys(METRICS, AMOUNT),
    **dict.fromkeys(("accuracy", "ece", "mace"), SHARE),
    "brier": _number("a number from 0 to 2", 2),
}

_RESULT = {"epoch": COUNT, **_MEASURED, "mutual_information": (AMOUNT, None)}

# Other keys may stand beside these. A list holds any number of its one kind; (kind, None) may be
# null.
SCHEMA: dict[str, Any] = {
    "node": {
        **dict.fromkeys(("dataset", "model", "inference", "curriculum"), TEXT),
        **dict.fromkeys(("seed", "level"), COUNT),
        **dict.fromkeys(("scorer", "rewind", "branch"), (TEXT, None)),
        "replicate": (COUNT, None),
    },
    "settings": {
        **dict.fromkeys(("dataset", "model", "inference"), TEXT),
        "curriculum": {"epochs": COUNT, "batch_size": POSITIVE},
        "evaluation": dict.fromkeys(("every", "passes", "samples"), POSITIVE),
    },
    "density": SHARE,
    "survivors": COUNT,
    "prunable": POSITIVE,
    "layers": [{"name": TEXT, "size": POSITIVE, "survivors": COUNT}],
    "results": {"peak": _RESULT, "final": _RESULT, "selected": (_RESULT, None)},
    "passes": {
        **{name: [kind] for name, kind in _MEASURED.items()},
        "mutual_information": ([AMOUNT], None),
    },
    "cost": {
        **dict.fromkeys(("seconds", "seconds_training", "seconds_evaluation"), AMOUNT),
        "side_by_side": POSITIVE,
        **dict.fromkeys(("epochs", "peak_memory_bytes"), COUNT),
        "resumed_at_steps": [COUNT],
    },
    "provenance": {"git_commit": (TEXT, None), "device": TEXT, "threads": POSITIVE},
}

# What only some nodes measure; the tables believe it where it is there.
SOMETIMES: dict[str, Any] = {
    "by_step": [{"step": POSITIVE, "test_accuracy": SHARE, "test_nll": AMOUNT}],
    "population": [
        {"epoch": COUNT, "nll": (AMOUNT, None), "learning_rate": AMOUNT, "initial_std": AMOUNT}
    ],
    "shifts": [
        {"shift": TEXT, "strength": POSITIVE, "accuracy": SHARE, "nll": AMOUNT, "ece": SHARE}
    ],
    "out_of_distribution": [
        {"dataset": TEXT, "auroc_entropy": SHARE, "auroc_mutual_information": (SHARE, None)}
    ],
    "members": [{}],
    "convergence": {
        **dict.fromkeys(("chains", "draws"), POSITIVE),
        "quantities": COUNT,
        "converged": TRUTH,
        "reason": TEXT,
    },
}

# What is told of chains of draws that a pool compares, where they are long enough; see
# `convergence.diagnose`.
CONVERGENCE = tuple(
    f"{measure}_{of}"
    for measure, worst in {"rhat": "max", "ess_bulk": "min", "ess_tail": "min"}.items()
    for of in ("log_likelihood", worst, "95", "median")
)


def read(path: str | Path) -> dict:
    """The metrics of the node in whose folder `path` lies.

    Raises:
        InputError: the file is missing, damaged or of another node, or a value is not possible; the
            message names the file and the key.
    """
    metrics = read_json(path)
    try:
        check(metrics)
        named = {**LATER, **metrics["node"]}
        folder = Node(**{name: named[name] for name in (*SCHEMA["node"], *LATER)}).folder
        if not Path(path).absolute().parent.as_posix().endswith(f"/{folder}"):
            raise InputError(f"key 'node' is that of the folder {folder}.")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return metrics


def check(metrics: Any) -> None:
    """Raise an `InputError` that names the key unless `metrics` could be those of a node."""
    _check("", metrics, SCHEMA)
    for name in SOMETIMES.keys() & metrics.keys():
        _check(name, metrics[name], SOMETIMES[name])
    for number, test in enumerate(metrics.get("by_step", []), 1):
        held_out = test.get("validation_nll", 0.0)  # without held-out images there is none
        _check(f"by_step entry {number}.validation_nll", held_out, AMOUNT)
    for number, change in enumerate(metrics.get("population", []), 1):
        for layer, factor in change["heats"].items():
            _check(f"population entry {number}.heats.{layer}", factor, AMOUNT)
    for name, value in metrics.get("sampling", {}).items():
        _check(f"sampling.{name}", value, (NUMBER, None))
    told = metrics.get("convergence", {})
    for name in (name for name in CONVERGENCE if name in told):
        _check(f"convergence.{name}", told[name], AMOUNT)
    _check("provenance.computation", computation(metrics), COUNT)
    told = metrics.get("connected", True)  # results from before do not tell
    _require(told is None or type(told) is bool, "connected", told, "true, false or null")
    told = metrics.get("skipped", False)  # as most results
    _require(type(told) is bool, "skipped", told, "true or false")
    _check_options(metrics["settings"])
    _check_node(metrics)
    _check_counts(metrics)
    _check_results(metrics)
    _check_ranking(metrics)


def coordinates(metrics: Mapping) -> dict:
    """The node's coordinates, those that came later filled in; null where all trunks share it."""
    return filled(metrics["node"])


def computation(metrics: Mapping) -> int:
    """The version of the computation that made a node's result: 1 before versions were recorded."""
    return metrics["provenance"].get("computation", 1)


def _check(key: str, value: Any, kind: Any) -> None:
    """Raise an `InputError` unless the `value` of `key` is what `SCHEMA` says it may be."""
    if isinstance(kind, tuple):
        if value is None:
            return
        kind = kind[0]
    if isinstance(kind, Mapping):
        _require(isinstance(value, dict), key, value, "a mapping")
        for name, inner in kind.items():
            path = f"{key}.{name}".lstrip(".")
            if name not in value:
                raise InputError(f"key {path!r} is missing.")
            _check(path, value[name], inner)
    elif isinstance(kind, list):
        _require(isinstance(value, list), key, value, "a list")
        for number, entry in enumerate(value, 1):
            _check(f"{key} entry {number}", entry, kind[0])
    else:
        _require(kind.allows(value), key, value, kind.words)


def _require(fits: bool, key: str, value: object, allowed: str) -> None:
    if not fits:
        what = f"key {key!r}" if key else "its content"
        raise InputError(f"{what} is {reprlib.repr(value)}; it must be {allowed}.")


def _check_options(settings: Mapping) -> None:
    """The options of the inference must tell how fast it trains, where they say anything."""
    _check("settings.kind", settings.get("kind", "as the inference"), TEXT)
    key, options = f"settings.{kind_name(settings)}", options_of(settings)
    _require(isinstance(options, dict), key, options, "a mapping")
    told = {"samples": 1, "estimator": "weights", **options}
    _check(key, told, {"samples": POSITIVE, "estimator": TEXT})


def _check_node(metrics: Mapping) -> None:
    """The coordinates must be those of some node, and of the settings that it was trained by."""
    node, settings = metrics["node"], metrics["settings"]
    for name in ("scorer", "rewind"):
        fits = (node[name] is None) == (node["level"] == 0)
        _require(fits, f"node.{name}", node[name], "null at level 0, and text above")
    for name, absent in LATER.items():
        _check(f"node.{name}", node.get(name, absent), TEXT)
        fits = node["level"] > 0 or name not in node
        _require(fits, f"node.{name}", node.get(name), "absent at level 0")
    fits = (node["replicate"] is None) == (node["branch"] is None)
    _require(
        fits, "node.replicate", node["replicate"], "null where the branch is, and a number else"
    )
    _require(settings["model"] == node["model"], "settings.model", settings["model"], node["model"])
    if node["branch"]:  # may be trained on other data, or not at all
        return
    dataset, epochs = settings["dataset"], settings["curriculum"]["epochs"]
    _require(dataset == node["dataset"], "settings.dataset", dataset, node["dataset"])
    _require(epochs > 0, "settings.curriculum.epochs", epochs, "above 0 but of a branch")


def _check_counts(metrics: Mapping) -> None:
    """The counts of layers, and the density, must be those of the whole."""
    layers, survivors, prunable = (metrics[key] for key in ("layers", "survivors", "prunable"))
    for number, layer in enumerate(layers, 1):
        few, key = layer["survivors"] <= layer["size"], f"layers entry {number}.survivors"
        _require(few, key, layer["survivors"], f"at most the layer's size, {layer['size']}")
    for key, part in (("survivors", "survivors"), ("prunable", "size")):
        total = sum(layer[part] for layer in layers)
        _require(metrics[key] == total, key, metrics[key], f"the sum over the layers, {total}")
    density = survivors / prunable
    near = abs(metrics["density"] - density) < _ROUNDING
    _require(near, "density", metrics["density"], f"survivors / prunable, {density:g}")


def _check_results(metrics: Mapping) -> None:
    """Epochs must be trained ones, the peak the highest, and every metric of as many passes."""
    results, passes, epochs = metrics["results"], metrics["passes"], metrics["cost"]["epochs"]
    peak, count = results["peak"]["accuracy"], len(passes["accuracy"])
    _require(count > 0, "passes.accuracy", [], "a list of one number a pass")
    for name in METRICS:
        values = passes[name]
        fits = values is None or len(values) == count
        _require(fits, f"passes.{name}", values, f"{count} numbers, as passes.accuracy")
    for statistic in STATISTICS:
        result, key = results[statistic], f"results.{statistic}"
        if result is None:
            continue
        epoch, accuracy, mutual = (result[k] for k in ("epoch", "accuracy", "mutual_information"))
        _require(epoch <= epochs, f"{key}.epoch", epoch, f"at most cost.epochs, {epochs}")
        _require(epoch > 0 or epochs == 0, f"{key}.epoch", epoch, "above 0 of what was trained")
        _require(accuracy <= peak, f"{key}.accuracy", accuracy, f"at most the peak's, {peak:g}")
        fits = (mutual is None) == (passes["mutual_information"] is None)
        _require(fits, f"{key}.mutual_information", mutual, "null just where that of the passes is")


def _check_ranking(metrics: Mapping) -> None:
    """What is measured of some data sets only must be there of all results and passes, or of none;
    null where it is not defined."""
    results, passes = metrics["results"], metrics["passes"]
    count = len(passes["accuracy"])
    for name in RANKING:
        for statistic in STATISTICS:
            result, key = results[statistic], f"results.{statistic}.{name}"
            if result is not None:
                fits = (name in result) == (name in passes)
                _require(fits, key, result.get(name), f"there just where passes.{name} is")
                _check(key, result.get(name), (SHARE, None))
        values = passes.get(name)
        _check(f"passes.{name}", values, ([SHARE], None))
        fits = values is None or len(values) == count
        _require(fits, f"passes.{name}", values, f"{count} numbers, as passes.accuracy")
