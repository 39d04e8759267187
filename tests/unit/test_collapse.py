"""Collapse is named: emptied layers, and networks without a path from input to output."""

from dataclasses import replace

import pytest
import torch
from families import FAMILIES, WIDE
from small_study import SmallStudy

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json
from bayesian_lottery.findings import rows
from bayesian_lottery.models.layers import Linear
from bayesian_lottery.study import node_metrics
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import collapse, jobs

SHAPES = FAMILIES | WIDE


def built(model: str):
    template = models.build(model, SHAPES[model], 10, seed=1)
    return template, masks.ones(models.prunable(template))


@pytest.mark.parametrize("model", SHAPES)
def test_a_dense_network_is_connected_and_one_without_weights_is_not(model):
    template, mask = built(model)
    before = {name: tensor.clone() for name, tensor in template.state_dict().items()}
    nothing = {name: torch.zeros_like(layer) for name, layer in mask.items()}
    assert collapse.connected(template, mask, SHAPES[model])
    assert not collapse.connected(template, nothing, SHAPES[model])
    assert collapse.emptied(mask) == [] and collapse.emptied(nothing) == list(mask)
    assert template.training, "nothing moves"
    assert all(torch.equal(before[n], t) for n, t in template.state_dict().items())


def test_an_emptied_layer_cuts_a_plain_network_and_not_one_with_a_way_around_it():
    for model, wanted in (("lenet_100_50", False), ("vgg5_slim", False), ("resnet8_slim", True)):
        template, mask = built(model)
        name = list(mask)[1]
        mask[name][:] = False
        assert collapse.connected(template, mask, SHAPES[model]) is wanted
        assert collapse.emptied(mask) == [name]


def test_one_path_of_single_weights_connects_and_paths_that_do_not_meet_do_not():
    template, mask = built("lenet_100_50")
    first, second = ({name: torch.zeros_like(m) for name, m in mask.items()} for _ in range(2))
    (one, two) = mask
    first[one][7, 3] = first[two][5, 7] = True
    second[one][7, 3] = second[two][5, 8] = True
    assert collapse.connected(template, first, FAMILIES["lenet_100_50"])
    assert not collapse.connected(template, second, FAMILIES["lenet_100_50"])
    assert collapse.emptied(second) == []
    assert collapse.sentence(9, second, False) == (
        "collapse at level 9: the mask leaves no path from input to output."
    )


def test_a_model_that_cannot_be_followed_is_not_said_to_have_collapsed():
    class Negative(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(-torch.relu(x))

    model = Negative(torch.nn.Flatten(), Linear(4, 3))
    model.register_buffer("index", torch.arange(3))
    mask = {"1.weight": torch.ones(3, 4, dtype=torch.bool)}
    assert collapse.connected(model, mask, (1, 2, 2)) is None
    assert collapse.sentence(3, mask, None) is None


def test_a_job_says_so_before_it_trains_and_metrics_hold_it(tmp_path, capsys):
    study = SmallStudy(tmp_path)
    node = study.node("lenet_100_50", level=1)
    study.train(study.node("lenet_100_50"))
    assert read_json(study.path(study.node("lenet_100_50"), "metrics.json"))["connected"] is True
    path = study.task(node).inputs.mask
    mask = masks.load(path)
    next(iter(mask.values()))[:] = False
    masks.save(path, mask)
    capsys.readouterr()
    study.train(node)
    said = capsys.readouterr().out
    assert said.index("collapse at level 1: the mask empties hidden.0.weight") < said.index("step")
    assert read_json(study.path(node, "metrics.json"))["connected"] is False


def test_the_configuration_chooses_what_becomes_of_a_collapsed_level(tmp_path, capsys):
    study = SmallStudy(tmp_path)
    node = study.node("lenet_100_50", level=1)
    study.train(study.node("lenet_100_50"))
    task = study.task(node)
    mask = masks.load(task.inputs.mask)
    next(iter(mask.values()))[:] = False
    masks.save(task.inputs.mask, mask)
    with pytest.raises(InputError, match=r"collapse at level 1.*'collapse' makes that an error"):
        jobs.train_nodes([replace(task, collapse="error")], "cpu")
    capsys.readouterr()
    jobs.train_nodes([replace(task, collapse="skipped")], "cpu")
    assert "It is skipped" in capsys.readouterr().out
    path = study.path(node, "metrics.json")
    skipped = node_metrics.read(path)
    assert skipped["skipped"] and skipped["cost"]["epochs"] == 0
    row = rows.run(skipped)
    assert row["skipped"] and row["peak_accuracy"] is row["final_accuracy"] is None
    assert study.path(node, "next_mask.safetensors").exists(), "later levels go on from it"
