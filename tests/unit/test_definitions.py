"""Models of the configuration's own in a study: settings, files, jobs, requests, estimates."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from small_study import SCHEMA, STUDY, interrupted

from bayesian_lottery import study
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import export
from bayesian_lottery.files import read_json, read_shapes, read_tensors
from bayesian_lottery.running import cost, resources
from bayesian_lottery.study import configuration, datasets, definitions
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import jobs

HOME = Path(__file__).with_name("home_made.py")
MODELS = {
    "mine": {"code": "home_made.py:Net", "arguments": {"width": 4}},
    "apart": {"code": "home_made.py:Positions"},
    "packaged": {"code": "torchvision.models:resnet18"},
}


def configured(folder: Path, own=MODELS, trained=("mine", "apart"), **changes):
    trunks = [{**entry, "model": list(trained), "curriculum": "adam"} for entry in STUDY["trunks"]]
    given = {**STUDY, "results": "results", "trunks": trunks, "models": own, **changes}
    (folder / "study.yaml").write_text(yaml.safe_dump(given))
    return configuration.load([folder / "study.yaml"], [], SCHEMA)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """A folder with a model's file, where Snakemake would run."""
    shutil.copy(HOME, tmp_path)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("lottery_extension_home_made", None)
    yield tmp_path
    sys.modules.pop("lottery_extension_home_made", None)


def prepared(config, shape=(1, 8, 8), counts=(100, 50)) -> None:
    """The decoded data set, of noisy patterns, and the initial weights of the models of a file."""
    stream = torch.Generator().manual_seed(0)
    patterns = torch.randint(256, (10, *shape), generator=stream)

    def split(count: int) -> decoded.Split:
        labels = torch.arange(count) % 10
        noise = torch.randint(-60, 60, (count, *shape), generator=stream)
        return decoded.Split((patterns[labels] + noise).clamp(0, 255).to(torch.uint8), labels)

    train, test = map(split, counts)
    images = decoded.Images(
        "digits", tuple("abcdefghij"), train, test, *decoded.channel_statistics(train.images)
    )
    decoded.save(study.data_file(config, "digits"), images, "made here")
    for name, entry in config["models"].items():
        if entry["code"].startswith("home_made") or shape[0] == 3:
            output = Path(f"results/initial/digits/{name}/seed0.safetensors")
            jobs.initialise(Path(study.data_file(config, "digits")), name, 0, output, entry)


def task_of(config, node) -> jobs.Task:
    def paths(value):
        if isinstance(value, dict):
            return {key: paths(inner) for key, inner in value.items()}
        return [paths(v) for v in value] if isinstance(value, list) else Path(value)

    files = study.files(config, node)
    inputs, outputs = paths(files["inputs"]), paths(files["outputs"])
    settings = json.loads(json.dumps(study.node_settings(config, node)))  # as a job gets them
    return jobs.Task(node.coordinates(), settings, jobs.Inputs(**inputs), jobs.Outputs(**outputs))


def node_of(nodes, **wanted):
    wanted = {"branch": None, "rewind": "imp", **wanted}
    if wanted["level"] == 0:
        del wanted["rewind"]
    return next(n for n in nodes if all(getattr(n, k) == v for k, v in wanted.items()))


def test_a_node_depends_on_its_models_definition_and_file(folder):
    config, nodes = configured(folder)
    mine = node_of(nodes, model="mine", inference="bayesian", level=1)
    assert study.node_settings(config, mine)["definition"] == MODELS["mine"]
    assert study.node_extensions(config, mine) == ["home_made.py"]
    wider = {**MODELS, "mine": {**MODELS["mine"], "arguments": {"width": 8}}}
    other, _ = configured(folder, wider)
    apart = node_of(nodes, model="apart", inference="bayesian", level=1)
    assert study.node_settings(other, mine) != study.node_settings(config, mine)
    assert study.node_settings(other, apart) == study.node_settings(config, apart)


def test_the_packages_models_are_as_without_any_other(folder):
    plain, nodes = configured(folder, {}, ["resnet8_slim"])
    config, _ = configured(folder, MODELS, ["resnet8_slim"])
    del plain["models"]
    for node in nodes:
        assert study.node_settings(config, node) == study.node_settings(plain, node)
        assert "definition" not in study.node_settings(config, node)
        assert study.files(config, node) == study.files(plain, node)


@pytest.mark.parametrize("model", ["mine", "apart"])
@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_levels_train_resume_and_prune(folder, monkeypatch, capsys, model, inference):
    config, nodes = configured(folder)
    prepared(config)
    dense = node_of(nodes, model=model, inference=inference, level=0)
    level = node_of(nodes, model=model, inference=inference, level=1)
    jobs.train_nodes([task_of(config, dense)], "cpu")
    said = "apart: weight samples go through it one at a time, for " in capsys.readouterr().out
    assert said == (model == "apart")
    jobs.train_nodes([task_of(config, level)], "cpu")
    outputs = study.node_outputs(config, level)
    undisturbed = read_tensors(outputs["weights"])[0]
    metrics = read_json(outputs["metrics"])
    assert metrics["survivors"] == metrics["prunable"] - int(0.2 * metrics["prunable"])
    assert metrics["settings"]["definition"] == config["models"][model]
    mask = masks.load(study.node_inputs(config, level)["mask"])
    assert "head.weight" not in mask

    def again():
        jobs.train_nodes([task_of(config, level)], "cpu", checkpoint_seconds=0)

    interrupted(monkeypatch, 3, again)
    jobs.train_nodes([task_of(config, level)], "cpu")
    assert read_json(outputs["metrics"])["cost"]["resumed_at_steps"]
    torch.testing.assert_close(read_tensors(outputs["weights"])[0], undisturbed, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_a_librarys_model_finds_a_ticket(folder, inference):
    code = "torchvision.models:mobilenet_v3_small"
    own = {"packaged": {"code": code, "arguments": {"dropout": 0}}}
    config, nodes = configured(folder, own, ["packaged"])
    prepared(config, (3, 32, 32), (50, 20))
    definitions.build(config, nodes)
    for number in (0, 1):
        node = node_of(nodes, model="packaged", inference=inference, level=number)
        jobs.train_nodes([task_of(config, node)], "cpu")
    metrics = read_json(study.node_outputs(config, node)["metrics"])
    assert metrics["survivors"] == metrics["prunable"] - int(0.2 * metrics["prunable"])
    assert cost.estimate(config, nodes, "gpu").wall(1) > 0


def test_its_classifier_is_pruned_where_it_has_a_share(folder):
    rankings = {"first": {"kind": "layerwise", "shares": {"stem.0": 0.5, "head": 0.1}}}
    own = {"model": "mine", "curriculum": "adam", "ranking": "first", "rewind": "imp"}
    given = {"trunks": [{**STUDY["trunks"][0], **own}], "branches": []}
    config, nodes = configured(folder, rankings=rankings, **given)
    prepared(config)
    dense, level = (
        node_of(nodes, model="mine", inference="deterministic", level=k) for k in (0, 1)
    )
    jobs.train_nodes([task_of(config, dense)], "cpu")
    ((path, node),) = study.masks_apart(config, nodes).items()
    task = study.pruning_task(config, node)
    data, weights = Path(study.data_file(config, "digits")), study.node_outputs(config, dense)
    settings = {**task["settings"], **{k: v for k, v in task.items() if "ranking" in k}}
    files = (data, Path(weights["weights"]), "magnitude", Path(path))
    jobs.prune_dense(task["node"], settings, *files)
    jobs.train_nodes([task_of(config, level)], "cpu")
    mask = masks.load(path)
    assert int(mask["stem.0.weight"].sum()) == 18 and int(mask["head.weight"].sum()) == 108
    rankings["first"]["shares"] = {"fc": 0.1}
    with pytest.raises(InputError, match=r"a layer of home_made\.py:Net: 'fc' is not known"):
        configured(folder, rankings=rankings, **given)


def test_cost_and_requests_follow_from_the_module(folder):
    config, nodes = configured(folder)
    prepared(config)
    node = node_of(nodes, model="mine", inference="bayesian", level=0)
    initial = study.node_inputs(config, node)["initial"]
    estimated = cost.estimate(config, nodes, "cpu")
    assert estimated.wall(1) > 0
    size = cost.size(study.choices.model(config, "mine"), (1, 8, 8), 10)
    # 4 x 9 + 8 x 9 at 64 places, and the two linear layers.
    assert size.multiply_adds == 64 * (36 + 72) + 32 * 12 + 12 * 10
    counted = read_shapes(initial)[1]["cost"]
    assert counted[0] == size.parameters / 1e6
    assert counted[1] == pytest.approx(16 * size.multiply_adds / 1e6)
    settings, images = study.node_settings(config, node), datasets.images_of(config, "digits")
    known = resources.request(settings, images, "cpu", initial=initial)
    unknown = resources.request(settings, images, "cpu", initial="absent.safetensors")
    assert known.memory_mb < unknown.memory_mb


def test_a_model_without_known_units_is_not_exported(folder):
    config, nodes = configured(folder, weights="all")
    prepared(config)
    node = node_of(nodes, model="mine", inference="deterministic", level=0)
    jobs.train_nodes([task_of(config, node)], "cpu")
    data = Path(study.data_file(config, "digits"))
    with pytest.raises(InputError, match=r"model: Net has no entry in units\.STRUCTURES"):
        export.export(Path("results", node.folder), data, folder / "compact.safetensors")


@pytest.mark.parametrize(
    ("own", "sentence"),
    [
        ({"resnet20": {"code": "a:b"}}, r"models\.resnet20: the package has a model resnet20"),
        ({"mine": {"code": "torchvision"}}, r"models\.mine\.code: 'torchvision' is not allowed"),
        ({"mine": {"code": "a.py:1b"}}, r"models\.mine\.code: 'a\.py:1b' is not allowed"),
        ({"mine": {"code": "a.py:B"}}, r"models\.mine\.code: 'a\.py' is not a Python file"),
        ({"mine": {}}, r"models\.mine: the key 'code' is missing"),
        ({"mine": {"code": "a:b", "args": {}}}, r"models\.mine: 'args' is not a key"),
        ({"mine": {"code": f"{'x' * 300}.py:B"}}, "is not a Python file that is there"),
        (
            {"mine": {"code": "a:b", "arguments": {"rate": [0.1, float("nan")]}}},
            r"models\.mine\.arguments\.rate: .* numbers must be finite",
        ),
        (
            {"mine": {"code": "a:b", "arguments": {"width": "$wide"}}},
            r"models\.mine\.arguments\.width: '\$wide' is not known; choose from \$channels",
        ),
    ],
)
def test_wrong_definitions_are_refused_before_any_job(folder, own, sentence):
    with pytest.raises(InputError, match=sentence):
        configured(folder, {**MODELS, **own})


def test_models_are_built_before_any_job(folder):
    config, nodes = configured(folder, trained=["mine"])
    definitions.build(config, nodes)
    config, nodes = configured(folder, trained=["packaged"])
    sentence = r"^models\.packaged: torchvision\.models:resnet18 takes no images of 1 x 8 x 8, at"
    with pytest.raises(InputError, match=sentence):
        definitions.build(config, nodes)


def test_units_of_models_that_say_nothing_of_them_are_refused_before_any_job(folder):
    trunk = {**STUDY["trunks"][0], "model": "mine", "pattern": "units"}
    sentence = (
        "^trunks: the pattern 'units' prunes whole units, and of the model home_made.py:Net "
        "nothing says what they are; use the pattern 'weights', or give its class Net an entry in "
        r"units\.STRUCTURES\.$"
    )
    with pytest.raises(InputError, match=sentence):
        configured(folder, trunks=[trunk], branches=[])
