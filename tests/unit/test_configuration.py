"""What is refused before any job starts, and in which words."""

import copy
import math
from pathlib import Path

import pytest
import torch
import yaml
from jsonschema import Draft202012Validator

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_tensors
from bayesian_lottery.findings.figures import FIGURES
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.inference.variational import ESTIMATORS
from bayesian_lottery.options import schema as options_schema
from bayesian_lottery.study import configuration

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
        (
            "claims.margin",
            1,
            "claims.margin: 1 is not allowed; it must be a number above 0 and below 1",
        ),
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
        ("networks_per_job", 10**9, "of at most 1000, for they share the memory of one device."),
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
        ("trunks.0.model", "x" * 400, "xxx' is not known; choose from lenet5,"),
        (
            "datasets.digits.augment.crop",
            8,
            "datasets.digits.augment.crop: 8 must be below the 8 pixels of the images; ",
        ),
        ("datasets.digits.augment.crop", 3000, "crop: 3000 must be below the 8 pixels"),
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
    "folder", ["a b", "é 数/😀", "x; touch pwned #&|*?[y]!%j", "../x", "/tmp/x", "x~"]
)
def test_results_may_lie_in_folders_of_most_names(config, folder):
    assert configuration.validate(config | {"results": folder})


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("x$(touch pwned)y", "holds $, which has a meaning of its own in Snakemake or a shell"),
        ("x`touch pwned`", "holds `, which"),
        ("{x}", "holds {, which"),
        ("<logs>", "holds <, which"),
        ("Tom's", "holds ', which"),
        (
            "~/x",
            f"starts with ~, which is not read as a home folder here; write the path in full, "
            f"{Path.home()}/x.",
        ),
        ("~nobody-at-all/x", "which is not read as a home folder here; write the path in full."),
        ("-x", "'-x' is not a path of a folder"),
        ("s3://bucket/x", "is not a path of a folder"),
        ("x/", "'x/' is not in the form in which Snakemake takes paths; write 'x'."),
        ("./a//b/../c", "in which Snakemake takes paths; write 'a/c'."),
        ("//tmp/x", "in which Snakemake takes paths; write '/tmp/x'."),
        (".", "in which Snakemake takes paths; write the name of a folder."),
        ("/", "write the name of a folder."),
        ("é" * 101, "is too long; a folder's name may have 200 bytes, and the path 1000"),
        ("/".join("x" * 600), "is too long"),
        (f"{__file__}/x", f"'{__file__}' is a file; "),
        (__file__, f"'{__file__}' is a file; "),
    ],
)
def test_results_that_cannot_be_a_folder_are_refused(config, folder, words):
    with pytest.raises(InputError) as refused:
        configuration.validate(config | {"results": folder})
    assert str(refused.value).startswith("results: ") and words in str(refused.value)


@pytest.mark.parametrize("override", ["x=1", "results", "results= ", "=1", "a b=1"])
def test_what_is_no_override_is_refused(override, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=r"^--config: '.*' is not KEY=VALUE with a key of two"):
        configuration.load([], [override], SCHEMA_FILE)


def test_an_override_is_checked_as_a_file_is(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=r"^checkpoint_seconds: 1e\+30 is not allowed"):
        configuration.load([], ["checkpoint_seconds=1e30"], SCHEMA_FILE)


@pytest.mark.parametrize(
    ("section", "entry", "sentence"),
    [
        ("inferences", {"kind": "bayes"}, "inferences.x.kind: 'bayes' is not known; choose from"),
        ("inferences", {"kind": "bayesian", "heat": -1}, "inferences.x.heat: -1 is not allowed"),
        ("inferences", {"kind": "bayesian", "heats": {"a": -1}}, "inferences.x.heats.a: -1 is not"),
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


def test_factors_of_layers_name_layers_of_the_models_that_are_trained(config):
    config["bayesian"]["heats"] = {"classifier": 0.5, "first": 1.0}
    with pytest.raises(InputError, match=r"^bayesian\.heats, a layer of .*: 'first' is not known;"):
        configuration.validate(config)
    config["bayesian"]["heats"] = {"classifier": 0.5}
    configuration.validate(config)


def test_a_classifier_too_large_for_a_covariance_is_refused(config):
    config["inferences"] = {"last": {"kind": "laplace", "hessian": "last_layer"}}
    config["datasets"]["many"] = {**config["datasets"]["digits"], "source": "cifar100", "root": "x"}
    config["trunks"][0] |= {"model": "resnet18", "inference": "last", "scorer": "mu"}
    config["trunks"][0]["dataset"] = "many"
    with pytest.raises(InputError, match=r"^inferences\.last\.hessian: .* has 51,300; use 'diag"):
        configuration.validate(config)
    config["trunks"][0]["model"] = "resnet20"
    configuration.validate(config)


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
            if key in ("trunks", "branches", "exports"):  # they have tables of their own
                continue
            assert rows or rule.get("type") in ("object", None), key
            if rows and not isinstance(rule.get("default"), dict | None):
                default = str(rule["default"]).lower()
                assert any(default == row.split("|")[2].strip(" `") for row in rows), key


def test_the_figures_of_the_schema_are_those_of_the_registry():
    assert SCHEMA["properties"]["figures"]["properties"].keys() == FIGURES.keys()
