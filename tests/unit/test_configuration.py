"""What is refused before any job starts that no schema can see, and in which words."""

from pathlib import Path

import pytest
import torch
from small_configuration import ROOT, SCHEMA_FILE, changed, configured

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import write_tensors
from bayesian_lottery.study import configuration


@pytest.fixture
def config(tmp_path) -> dict:
    return configured(tmp_path)


def test_a_valid_configuration_gives_its_trunks(config):
    assert len(configuration.validate(config)) == 3


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("trunks.0.model", "resnet21", "trunks entry 1.model: 'resnet21' is not known; choose"),
        ("trunks.0.model", "vgg11", "trunks entry 1.model: vgg11 does not take images of 8 x 8"),
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
        (
            str(ROOT / "src"),
            f"'{ROOT / 'src'}' is one of the project's own folders, src, scripts, ",
        ),
        (str(ROOT / ".git"), "is one of the project's own folders"),
        (str(ROOT / "config/mine"), "is one of the project's own folders, src, scripts,"),
    ],
)
def test_results_that_cannot_be_a_folder_are_refused(config, folder, words):
    with pytest.raises(InputError) as refused:
        configuration.validate(config | {"results": folder})
    assert str(refused.value).startswith("results: ") and words in str(refused.value)


def test_results_may_lie_in_a_folder_elsewhere_of_the_same_name(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert configuration.validate(config | {"results": "src"})
    monkeypatch.chdir(ROOT)
    with pytest.raises(InputError, match=r"^results: 'src' is one of the project's own folders"):
        configuration.validate(config | {"results": "src"})


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
        ("searches", {"kind": "gradual", "begin": 0.9}, "searches.x.begin: 0.9 is not allowed; it"),
        (
            "searches",
            {"kind": "gradual", "begin": 0.3, "end": 0.3},
            "searches.x.begin: 0.3 is not allowed; it must be below end, which is 0.3.",
        ),
    ],
)
def test_inferences_searches_and_kinds_of_branches_are_checked(config, section, entry, sentence):
    with pytest.raises(InputError) as refused:
        configuration.validate({**config, section: {"x": entry}})
    assert sentence in str(refused.value)


def test_a_mask_that_would_never_move_is_refused(config):
    config["searches"] = {"rare": {"kind": "dynamic", "every": 134}}  # 9 epochs of 20 steps
    config["trunks"][0]["search"] = "rare"
    configuration.validate(config)
    config["searches"]["rare"]["every"] = 135
    with pytest.raises(InputError, match=r"^searches\.rare: on .* every: 135 must be below 135, t"):
        configuration.validate(config)
    config["searches"]["rare"]["kind"] = "gradual"  # prunes once, in the end
    configuration.validate(config)


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


def test_a_broken_data_file_is_named(config, tmp_path):
    prepared = tmp_path / "data/digits.safetensors"
    prepared.parent.mkdir()
    prepared.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"digits\.safetensors: truncated or not a safetensors"):
        configuration.validate(config)
    write_tensors(prepared, {"other": torch.zeros(1)})
    with pytest.raises(InputError, match=r"digits\.safetensors: not a data set .*`rm "):
        configuration.validate(config)
