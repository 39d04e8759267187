"""Models of a user's own that are refused, in which words, and how a classifier is named."""

from pathlib import Path

import pytest

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.models import Definition

HOME = str(Path(__file__).with_name("home_made.py"))
GREY, CLASSES = (1, 8, 8), 5


def test_a_classifier_can_be_named():
    squeezed = "torchvision.models:squeezenet1_1"
    with pytest.raises(InputError, match="has no linear layer; name the layer"):
        models.build(Definition(squeezed, {"dropout": 0}), (3, 32, 32), CLASSES)
    named = Definition(squeezed, {"dropout": 0}, classifier="classifier.1")
    model = models.build(named, (3, 32, 32), CLASSES)
    assert "classifier.1.weight" not in models.prunable(model)
    assert models.classes_of(model) == CLASSES
    with pytest.raises(InputError, match=r"no convolution or linear layer 'top'"):
        models.build(Definition(squeezed, {"dropout": 0}, "top"), (3, 32, 32), CLASSES)
    with pytest.raises(InputError, match=r"its classifier hidden has 12; both must have 5"):
        models.build(Definition(f"{HOME}:Net", {}, "hidden"), GREY, CLASSES)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("lazy", r"its layer second \(LazyLinear\) is lazy"),
        ("shared", r"its layer second \(Linear\) shares weight with first\.weight"),
        ("double", r"its layer second \(Linear\) has the weights weight in float64"),
        ("complex", r"its layer second \(Linear\) has the weights weight in complex64"),
        ("frozen", r"its layer second \(Linear\) has the weights weight frozen"),
        ("parametrised", r"its layer second \(Parametrized\w+\) computes its weights from others"),
        ("quantised", r"its layer second \(Linear\) is quantised"),
        ("dropout", r"its layer second\.1 \(Dropout\) draws random numbers in training"),
        ("functional", r"its own code \(Faulty\) draws random numbers in training"),
        ("average", r"its layer second \(BatchNorm1d\) averages all batches"),
        ("unweighted", r"its layer second \(BatchNorm1d\) has no weights \(affine is False\)"),
        ("counter", r"its layer second \(Linear\) changes calls in training"),
        ("mapping", r"gives a dict for images; it must give logits"),
        ("nan", r"gives outputs that are NaN, infinite or no real numbers, for random images"),
        ("whole", r"gives outputs that are NaN, infinite or no real numbers, for random images"),
        ("softmax", r"gives probabilities, which sum to 1; it must give logits, without a softmax"),
        ("no_grad", r"gives outputs that carry no gradient to its weights"),
        ("alone", r"has no convolution or linear layer beside head, which gives its logits"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_its_layer(fault, sentence):
    definition = Definition(f"{HOME}:Faulty", {"fault": fault})
    with pytest.raises(InputError, match=sentence) as refused:
        models.build(definition, GREY, CLASSES)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("code", "arguments", "sentence"),
    [
        (f"{HOME}:Nut", {}, "has no 'Nut'"),
        (f"{HOME}:not_a_module", {}, "gives a list; it must give a torch.nn.Module"),
        (f"{HOME}:nn", {}, "cannot be called"),
        (f"{HOME}:Net", {"wdith": 3}, r"cannot be built with num_classes, wdith \(.*wdith"),
        ("absent_module:Net", {}, "the module 'absent_module' cannot be imported"),
        ("absent.py:Net", {}, r"'absent\.py' is not a Python file that is there"),
        (f"{HOME}:Net", {"channels": 3}, "takes no images of 1 x 8 x 8, at layer stem.0"),
        (f"{HOME}:Net", {"num_classes": 7}, r"outputs of shape \(4, 7\) for 4 images of 5 classes"),
    ],
)
def test_what_cannot_be_built_is_refused(code, arguments, sentence):
    with pytest.raises(InputError, match=sentence) as refused:
        models.build(Definition(code, arguments), GREY, CLASSES)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


EXITS = """
import sys

import torch
from torch import nn


def at_once(num_classes):
    sys.exit(2)


class Later(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(64, num_classes)

    def forward(self, images):
        sys.exit(2)


class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(64, 9), nn.Linear(9, num_classes))
        self.first = self[1].weight.sum().item()


class WithOthers(Net):
    def forward(self, images):
        if abs(self[1].weight.sum().item() - self.first) > 1e-3:
            sys.exit(2)
        return super().forward(images)


class ByGradient(Net):
    def forward(self, images):
        if torch.is_grad_enabled():
            sys.exit(2)
        return super().forward(images)


class SideBySide(Net):
    def forward(self, images):
        if len(self[1].weight) > 9:
            sys.exit(2)
        return super().forward(images)
"""


def test_a_model_that_exits_is_refused(tmp_path):
    file = tmp_path / "exits.py"
    file.write_text(EXITS)
    said = {
        "at_once": "cannot be built with num_classes",
        "Later": "takes no images of 1 x 8 x 8",
        "ByGradient": "takes no images of 1 x 8 x 8",
        "WithOthers": "fails with other weights than its initial ones",
    }
    for name, words in said.items():
        with pytest.raises(InputError, match=rf"{words} \('SystemExit: 2'\)"):
            models.build(Definition(f"{file}:{name}"), GREY, CLASSES)
    model = models.build(Definition(f"{file}:SideBySide"), GREY, CLASSES)
    assert "its code does not take them side by side" in model.notes[0]
