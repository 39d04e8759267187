"""What is refused before any job starts, and in which words."""

import copy
import math
from pathlib import Path

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator

from bayesian_lottery import configuration
from bayesian_lottery.errors import InputError
from bayesian_lottery.figures import FIGURES
from bayesian_lottery.files import write_tensors
from bayesian_lottery.inferences import KINDS
from bayesian_lottery.networks import ESTIMATORS
from bayesian_lottery.options import schema as options_schema

ROOT = Path(__file__).parents[2]
SCHEMA_FILE = ROOT / "workflow/schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())


def changed(config: dict, path: str, value: object) -> dict:
    """A copy of `config` with the value at the dotted `path`, where digits index lists."""
    config = copy.deepcopy(config)
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place = config
    for key in parents:
        place = place[key] if isinstance(key, int) else place.setdefault(key, {})
    place[last] = value
    return config


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / name).read_text())


@pytest.fixture
def config(tmp_path) -> dict:
    """A small study, with every default that `validate` reads; nothing is prepared yet."""
    curriculum = {"epochs": 9, "learning_rate": 0.01, "batch_size": 64}
    shared = {"dataset": "digits", "model": "lenet_100_50", "rewind": "imp", "levels": 2}
    shared |= {"curriculum": "demo", "seeds": [0]}
    return {
        "results": str(tmp_path),
        "datasets": {"digits": {"source": "digits", "validation": 0.1, "augment": {"crop": 1}}},
        "curricula": {"demo": {**curriculum, "milestones": [6], "warmup_epochs": 0}},
        "figures": {},
        "branches": [],
        "bayesian": {"estimator": "weights", "antithetic": False},
        "compute": {"capture": False},
        "networks_per_job": 1,
        "trunks": [
            {**shared, "inference": "deterministic", "scorer": "magnitude"},
            {**shared, "inference": "bayesian", "scorer": ["snr", "mu"]},
        ],
    }


@pytest.mark.parametrize("name", ["config.yaml", "cifar10.yaml"])
def test_our_own_configurations_fit_the_schema(name):
    configuration.check_schema(read(name), SCHEMA_FILE)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("trunk", [], "'trunk' is not a key; did you mean 'trunks'?"),
        ("datasets.digits.augment.crops", 1, "datasets.digits.augment: 'crops' is not a key; "),
        ("figures.figure99", {}, "figures: 'figure99' is not a key; did you mean 'figure"),
        ("trunks.1.sedes", [0], "trunks entry 2: 'sedes' is not a key; did you mean 'seeds'?"),
        ("prune_fraction", 1, "prune_fraction: 1 is not allowed; it must be a number above 0 and"),
        ("prune_fraction", math.nan, "prune_fraction: nan is not allowed"),
        ("bayesian.heat", math.inf, "bayesian.heat: inf is not allowed"),
        ("bayesian.samples", 3.0, "bayesian.samples: 3.0 is not allowed; it must be a whole"),
        ("bayesian.samples", True, "bayesian.samples: True is not allowed"),
        (
            "curricula.demo.learning_rate",
            -0.1,
            "curricula.demo.learning_rate: -0.1 is not allowed; it must be a number above 0.",
        ),
        ("curricula.demo.learning_rate", "1e-3", "(YAML reads 1e-3 as text: write 1.0e-3 or"),
        (
            "curricula.demo.optimizer",
            "adamw",
            "'adamw' is not allowed; it must be one of adam, sgd",
        ),
        ("curricula.demo.milestones", [2, 2], "curricula.demo.milestones: [2, 2] holds a value"),
        ("curricula.a/b", {}, "'a/b' is not allowed; it must be text of letters, digits, '_' and"),
        ("curricula.fast", {"epochs": 1}, "curricula.fast: the key 'learning_rate' is missing."),
        ("trunks", [], "trunks: [] is not allowed; it must be a list of 1 or more entries."),
        ("trunks.0.seeds", [0, -1], "trunks entry 1.seeds entry 2: -1 is not allowed; it must be"),
        ("trunks.0.seeds", 3, "trunks entry 1.seeds: 3 is not allowed; it must be a list"),
        ("trunks.0.model", 3, "trunks entry 1.model: 3 is not allowed; it must be text or a list"),
        (
            "bayesian.estimator",
            "reparameterisation",
            "bayesian.estimator: 'reparameterisation' is not allowed; it must be one of weights, "
            "local_reparameterisation, flipout.",
        ),
        ("weights", "none", "weights: 'none' is not allowed; it must be one of needed, all."),
    ],
)
def test_what_the_schema_refuses_is_said_in_a_sentence(config, path, value, sentence):
    with pytest.raises(InputError) as refused:
        configuration.check_schema(changed(config, path, value), SCHEMA_FILE)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_valid_configuration_gives_its_trunks(config):
    assert len(configuration.validate(config)) == 3


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("trunks.0.model", "resnet21", "trunks entry 1.model: 'resnet21' is not known; choose"),
        ("trunks.0.model", "vgg11", "model: vgg11 "),
        ("datasets.digits.source", "digit", "datasets.digits.source: 'digit' is not known"),
        ("curricula.demo.milestones", [6, 50], "curricula.demo.milestones: 50 must be below the"),
        ("curricula.demo.warmup_epochs", 50, "curricula.demo.warmup_epochs: 50 is more than the"),
        (
            "curricula.demo.batch_size",
            1400,
            "curricula.demo.batch_size: 1400 is more than the 1294 training images of digits.",
        ),
        (
            "figures.figure1.models",
            ["resnet20"],
            "figures.figure1.models: 'resnet20' is not known; choose from lenet_100_50.",
        ),
    ],
)
def test_what_no_schema_can_see_is_refused_in_a_sentence(config, path, value, sentence):
    with pytest.raises(InputError) as refused:
        configuration.validate(changed(config, path, value))
    assert sentence in str(refused.value)


@pytest.mark.parametrize("estimator", ["local_reparameterisation", "flipout"])
@pytest.mark.parametrize("key", ["bayesian.antithetic", "compute.capture", "networks_per_job"])
def test_some_keys_go_with_weight_samples_only(config, estimator, key):
    section, _, name = key.rpartition(".")
    (config[section] if section else config)[name] = 2 if key == "networks_per_job" else True
    configuration.validate(config)
    config["bayesian"]["estimator"] = estimator
    with pytest.raises(InputError) as refused:
        configuration.validate(config)
    assert str(refused.value) == (
        f"{key}: it needs the estimator 'weights', and bayesian.estimator is {estimator!r}; "
        "set one of the two back to its default."
    )


@pytest.mark.parametrize(
    ("section", "entry", "sentence"),
    [
        ("inferences", {"kind": "bayes"}, "inferences.x.kind: 'bayes' is not known; choose from"),
        ("inferences", {"kind": "bayesian", "heat": -1}, "inferences.x.heat: -1 is not allowed"),
        ("inferences", {"kind": "bayesian", "heatt": 1}, "inferences.x: 'heatt' is not a key; did"),
        ("inferences", {"kind": "deterministic", "heat": 1}, "inferences.x: 'heat' is not a key"),
        ("branch_kinds", {"mask": "mixed"}, "branch_kinds.x.mask: 'mixed' is not known; choose"),
        ("branch_kinds", {"inference": "y"}, "branch_kinds.x.inference: 'y' is not known; choose"),
    ],
)
def test_inferences_and_kinds_of_branches_are_checked(config, section, entry, sentence):
    with pytest.raises(InputError) as refused:
        configuration.validate({**config, section: {"x": entry}})
    assert sentence in str(refused.value)


def test_the_section_of_a_kind_has_its_options():
    section = SCHEMA["properties"]["bayesian"]
    options = options_schema(KINDS["bayesian"].options)
    assert section["properties"] == options["properties"]
    assert section["properties"]["estimator"]["enum"] == list(ESTIMATORS)


def test_a_broken_data_file_is_named(config, tmp_path):
    prepared = tmp_path / "data/digits.safetensors"
    prepared.parent.mkdir()
    prepared.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"digits\.safetensors: truncated or not a safetensors"):
        configuration.validate(config)
    write_tensors(prepared, {"other": torch.zeros(1)})
    with pytest.raises(InputError, match=r"digits\.safetensors: not a data set .*`rm -r "):
        configuration.validate(config)


def objects(schema: dict):
    """All parts of the schema that list properties."""
    if "properties" in schema:
        yield schema
    nested = [*schema.get("properties", {}).values()]
    nested += [part for key in ("additionalProperties", "items") if (part := schema.get(key))]
    for part in nested:
        if isinstance(part, dict):
            yield from objects(part)


def test_the_schema_describes_every_key_and_refuses_others_at_every_depth():
    Draft202012Validator.check_schema(SCHEMA)
    for part in objects(SCHEMA):
        # The options of a variant depend on its kind, and are checked by it.
        assert part.get("additionalProperties") is False or "kind" in part["properties"]
        assert all(rule.get("description") for rule in part["properties"].values())


def test_the_readme_lists_every_key_with_its_default():
    readme = (ROOT / "config/README.md").read_text()
    for part in objects(SCHEMA):
        for key, rule in part["properties"].items():
            lines = [line for line in readme.splitlines() if line.startswith("|")]
            rows = [line for line in lines if f"{key}`" in line.split("|")[1]]
            if key in ("trunks", "branches"):  # they have tables of their own
                continue
            assert rows or rule.get("type") in ("object", None), key
            if rows and not isinstance(rule.get("default"), dict | None):
                default = str(rule["default"]).lower()
                assert any(default == row.split("|")[2].strip(" `") for row in rows), key


def test_the_figures_of_the_schema_are_those_of_the_registry():
    assert SCHEMA["properties"]["figures"]["properties"].keys() == FIGURES.keys()
