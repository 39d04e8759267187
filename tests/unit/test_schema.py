"""The schema of configurations: what it refuses, in which words, and that it is complete."""

import math

import pytest
import yaml
from jsonschema import Draft202012Validator
from small_configuration import ROOT, SCHEMA, SCHEMA_FILE, changed, configured

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings.figures import FIGURES
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.inference.variational import ESTIMATORS
from bayesian_lottery.options import schema as options_schema
from bayesian_lottery.study import configuration


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / "config" / name).read_text())


@pytest.fixture
def config(tmp_path) -> dict:
    return configured(tmp_path)


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
        (
            "claims.margin",
            1,
            "claims.margin: 1 is not allowed; it must be a number above 0 and below 1",
        ),
        ("samples", 5, "did you mean 'bayesian.samples' or 'evaluation.samples'?"),
        ("heat", 0.5, "'heat' is not a key; did you mean 'bayesian.heat'?"),
        ("bayesian.heat", "0.5", "(it is text, as quotes make it, and --config all that is inside"),
        ("prune_fraction", math.nan, "prune_fraction: nan is not allowed"),
        ("bayesian.heat", math.inf, "bayesian.heat: inf is not allowed"),
        ("bayesian.samples", 3.0, "bayesian.samples: 3.0 is not allowed; it must be a whole"),
        ("bayesian.samples", True, "bayesian.samples: True is not allowed"),
        (
            "curricula.demo.learning_rate",
            -0.1,
            "curricula.demo.learning_rate: -0.1 is not allowed; it must be a number of at least",
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
        # Keys and values that are long, or strange in other ways.
        ("x" * 400, 1, "xxx' is not a key; known are results, datasets,"),
        ("bayesian.estimator", "x" * 400, "xxx' is not allowed; it must be one of weights,"),
        ("trunks.0.model", {"a": [[1] * 9] * 9}, "not allowed; it must be text or a list"),
        (f"curricula.{'x' * 101}", {}, "starting with a letter or digit, and of at most 100 char"),
        ("curricula.a\n", {}, r"curricula.'a\n': 'a\n' holds '\n'; a text is one line"),
        ("curricula.2024", {}, "curricula: YAML reads the key 2024 as a number; a key is text,"),
        # Numbers that no study needs.
        (
            "trunks.0.levels",
            100_000,
            "levels: 100000 is not allowed; it must be a whole number of "
            "at least 1 and of at most 1000, for each level waits for the one before.",
        ),
        ("trunks.0.seeds", [2**63], "trunks entry 1.seeds entry 1: 9223372036854775808 is too l"),
        ("trunks.0.seeds", [10**399], "seeds entry 1: a number of 400 digits is too large; whole"),
        ("curricula.demo.epochs", 2**63 - 1, "of at most 1000000, for a run's history has a row"),
        ("curricula.demo.batch_size", 2**62, "of at most 1000000, for a step holds them all in m"),
        ("datasets.digits.size", 10**6, "of at most 4096, for all images are held in memory."),
        ("evaluation.bins", 10**9, "of at most 1000, for of more bins most are empty."),
        ("evaluation.passes", 10**9, "of at most 10000, for metrics hold them all."),
        ("bayesian.samples", 10**9, "of at most 10000, for a step takes so many times as long."),
        ("networks_per_job", 17, "of at most 16, for the settings and files of all must fit"),
        ("checkpoint_seconds", 10**9, "for no job runs for more than a year."),
        ("bayesian.prior_std", 1e-300, "for its square must fit float32."),
        ("prune_fraction", 1e-17, "for less prunes nothing of a small network, and more all of it"),
        ("prune_fraction", 1 - 2**-53, "of at least 0.001 and of at most 0.999, for less prunes"),
    ],
)
def test_what_the_schema_refuses_is_said_in_a_sentence(config, path, value, sentence):
    with pytest.raises(InputError) as refused:
        configuration.check_schema(changed(config, path, value), SCHEMA_FILE)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


@pytest.mark.parametrize("text", ["elephant", "1.0e", "e", "nan", "0x1e-3 m"])
def test_only_text_that_looks_like_a_number_is_said_to_be_meant_as_one(config, text):
    with pytest.raises(InputError) as refused:
        configuration.check_schema(
            changed(config, "curricula.demo.learning_rate", text), SCHEMA_FILE
        )
    assert "YAML reads" not in str(refused.value)


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
            if key in ("trunks", "branches", "exports"):  # they have tables of their own
                continue
            assert rows or rule.get("type") in ("object", None), key
            if rows and not isinstance(rule.get("default"), dict | None):
                default = str(rule["default"]).lower()
                assert any(default == row.split("|")[2].strip(" `") for row in rows), key


def test_the_section_of_a_kind_has_its_options():
    section = SCHEMA["properties"]["bayesian"]
    options = options_schema(KINDS["bayesian"].options)
    assert section["properties"] == options["properties"]
    assert section["properties"]["estimator"]["enum"] == list(ESTIMATORS)


def test_the_figures_of_the_schema_are_those_of_the_registry():
    assert SCHEMA["properties"]["figures"]["properties"].keys() == FIGURES.keys()
