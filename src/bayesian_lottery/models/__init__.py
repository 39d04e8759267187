"""The models by name, and those of the user's own. To add one, add an entry to `MODELS`.

Importing this loads no torch, so that the workflow can check names and image sizes quickly; `build`
and `prunable` load what they need.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from bayesian_lottery import imports
from bayesian_lottery.errors import InputError, choice

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Spec:
    """How to build a model, and the image sizes that fit it.

    Attributes:
        module: the module of this package that has the class.
        cls: the class, called with (image_shape, classes, **arguments).
        arguments: the class's further arguments.
        minimum: least height and width of an image.
        maximum: greatest height and width; None is any.
        multiple_of: what height and width must be multiples of.
        plain: whether it is a chain of linear layers and convolutions, ReLU and pooling between
            them, as the class's `chain` says.
    """

    module: str
    cls: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    minimum: int = 1
    maximum: int | None = None
    multiple_of: int = 1
    plain: bool = False

    def fits(self, size: int) -> bool:
        """Whether an image may be `size` pixels high or wide."""
        below = self.maximum is None or size <= self.maximum
        return self.minimum <= size and below and size % self.multiple_of == 0

    def allowed(self) -> str:
        """The sizes that fit, in words."""
        words = f"at least {self.minimum}"
        if self.maximum is not None:
            words += f" and at most {self.maximum}"
        if self.multiple_of > 1:
            words += f", in multiples of {self.multiple_of}"
        return words


def _mlp(*hidden: int) -> Spec:
    return Spec("mlp", "MLP", {"hidden": hidden}, plain=True)


def _resnet(*blocks: int, width: int) -> Spec:
    # Each stage but the first halves the image.
    return Spec("resnet", "ResNet", {"blocks": blocks, "width": width}, 2 ** (len(blocks) - 1))


def _wrn(depth: int, factor: int) -> Spec:
    # WRN-depth-factor; each stage but the first halves the image.
    arguments = {"blocks": ((depth - 4) // 6,) * 3, "width": 16 * factor}
    return Spec("wrn", "WideResNet", arguments, minimum=4)


def _vgg(*stages: tuple[int, ...]) -> Spec:
    return Spec("vgg", "VGG", {"stages": stages}, minimum=2 ** len(stages))


def _vit(*, patch: int, dim: int, depth: int, heads: int) -> Spec:
    arguments = {"patch": patch, "dim": dim, "depth": depth, "heads": heads}
    return Spec("vit", "ViT", arguments, minimum=patch, multiple_of=patch)


MODELS: dict[str, Spec] = {
    "lenet_300_100": _mlp(300, 100),
    "lenet5": Spec("lenet", "LeNet5", minimum=28, maximum=32, multiple_of=4, plain=True),
    "resnet20": _resnet(3, 3, 3, width=16),
    "resnet110": _resnet(18, 18, 18, width=16),
    "resnet18": _resnet(2, 2, 2, 2, width=64),
    "wrn_22_2": _wrn(22, 2),
    "vgg11": _vgg((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg19": _vgg((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
    "vit_tiny": _vit(patch=4, dim=192, depth=12, heads=3),
    "vit_base": _vit(patch=4, dim=768, depth=12, heads=12),
    # Small members of the families, for small images on a CPU.
    "lenet_100_50": _mlp(100, 50),
    "mlp_20": _mlp(20),
    "resnet8": _resnet(1, 1, 1, width=16),
    "resnet8_slim": _resnet(1, 1, 1, width=8),
    "resnet14_slim": _resnet(2, 2, 2, width=8),
    "vgg5_slim": _vgg((8,), (16,), (32,) * 2),
    "vit_nano": _vit(patch=4, dim=32, depth=2, heads=2),
}


@dataclass(frozen=True)
class Definition:
    """A model of the configuration's own (`models`), of any callable that makes a module.

    Attributes:
        code: "module:callable" or "path/to/file.py:callable".
        arguments: what it is called with. A text of `PLACES` stands for what the images say.
        classifier: the name of the layer that gives the logits; None is the last linear layer.
    """

    code: str
    arguments: Mapping[str, object] = field(default_factory=dict, hash=False)
    classifier: str | None = None

    def __str__(self) -> str:
        return self.code

    @property
    def file(self) -> str | None:
        """The file that the code is in; None if it is a module's."""
        return self.code.rpartition(":")[0] if imports.is_file(self.code) else None

    def given(self, image_shape: tuple[int, int, int], classes: int) -> dict:
        """The arguments, places filled in.

        The number of classes is passed as `num_classes`, as torchvision and timm have it, unless an
        argument asks for it.
        """
        values = (classes, *image_shape, list(image_shape))
        known = dict(zip(PLACES, values, strict=True))
        given = {
            name: known.get(value, value) if isinstance(value, str) else value
            for name, value in self.arguments.items()
        }
        asked = PLACES[0] in self.arguments.values()
        return given if asked else {"num_classes": classes, **given}


# What arguments may ask for: the number of classes, C, H, W, and [C, H, W].
PLACES = ("$classes", "$channels", "$height", "$width", "$image_shape")

Model = str | Definition  # a key of `MODELS`, or one of the user's own


def of(settings: Mapping) -> Model:
    """The model of a node of `settings`."""
    own = settings.get("definition")
    return Definition(**own) if own else settings["model"]


def check(model: Model, image_shape: tuple[int, int, int]) -> None:
    """Raise `InputError` unless `model` is one that takes images of shape (C, H, W).

    What images a `Definition` takes is known when it is built.
    """
    if isinstance(model, Definition):
        return
    if model not in MODELS:
        raise choice("model", model, MODELS)
    spec, (_, height, width) = MODELS[model], image_shape
    if not (spec.fits(height) and spec.fits(width)):
        raise InputError(
            f"model: {model} does not take images of {height} x {width} pixels; "
            f"height and width must be {spec.allowed()}."
        )


def build(
    model: Model, image_shape: tuple[int, int, int], classes: int, seed: int | None = None
) -> torch.nn.Module:
    """Build a model with PyTorch's initial weights (Kaiming uniform, a = sqrt 5), or its own ones.

    Args:
        model: a key of `MODELS`, or a definition.
        image_shape: (C, H, W).
        classes: number of classes K.
        seed: what the initial weights depend on, and nothing else; the global random state stays
            as it was. None draws from the global random state.

    Returns:
        A module from float images (B, C, H, W) to logits (B, K), on the CPU, in training mode. Its
        `classifier_of` gives the logits. With weights for S samples (see `layers`) these are
        (B, S·K).

    Raises:
        InputError: there is no such model, or it does not take such images, or it is none that can
            be trained here (see `adapting`).
    """
    check(model, image_shape)
    import torch

    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            # Not torch.manual_seed, which would seed CUDA's generators too.
            torch.default_generator.manual_seed(seed)
        if isinstance(model, Definition):
            from bayesian_lottery.models import adapting

            return adapting.build(model, image_shape, classes)
        spec = MODELS[model]
        cls = getattr(import_module(f"{__name__}.{spec.module}"), spec.cls)
        return cls(image_shape, classes, **spec.arguments)


def classifier_of(model: torch.nn.Module) -> str:
    """The name of the layer that gives the logits, whose weights masks cover only where asked."""
    return getattr(model, "classifier_name", "classifier")


def classes_of(model: torch.nn.Module) -> int:
    """The number of classes."""
    return len(model.get_submodule(classifier_of(model)).get_parameter("weight"))


def prunable(model: torch.nn.Module, classifier: bool = False) -> dict[str, torch.Size]:
    """Names and shapes of the weights that may be pruned, in the order of the network's modules.

    These are the weights of all convolutions and linear layers; the classifier's where asked.
    """
    from bayesian_lottery.models.layers import Conv2d, Linear

    logits = classifier_of(model)
    return {
        f"{name}.weight": module.weight.shape
        for name, module in model.named_modules()
        if isinstance(module, (Conv2d, Linear)) and (classifier or name != logits)
    }


def shapes_for(model: torch.nn.Module, mask: Mapping) -> dict[str, torch.Size]:
    """`prunable`, with the classifier's weights if a mask covers them."""
    return prunable(model, f"{classifier_of(model)}.weight" in mask)


def layer_names(model: Model, image_shape: tuple[int, int, int]) -> list[str]:
    """The names of the layers of a model whose weights may be pruned. This imports torch."""
    weights = prunable(_outline(model, image_shape, classes=2), classifier=True)
    return [weight.removesuffix(".weight") for weight in weights]


def classifier_size(model: Model, image_shape: tuple[int, int, int], classes: int) -> int:
    """How many weights and biases the layer that gives the logits has. This imports torch."""
    outline = _outline(model, image_shape, classes)
    return sum(p.numel() for p in outline.get_submodule(classifier_of(outline)).parameters())


def _outline(model: Model, image_shape: tuple[int, int, int], classes: int) -> torch.nn.Module:
    """The module, of which only shapes count; of a definition as it is built."""
    import torch

    with torch.device("cpu" if isinstance(model, Definition) else "meta"):
        return build(model, image_shape, classes)
