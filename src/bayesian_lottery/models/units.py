"""Units of a model: channels, neurons and attention heads that can be cut out one by one.

To let a new class of models be compacted, add a function and its line in `STRUCTURES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.errors import InputError
from bayesian_lottery.models.layers import Attention, Conv2d
from bayesian_lottery.models.lenet import LeNet5
from bayesian_lottery.models.mlp import MLP
from bayesian_lottery.models.resnet import ResNet
from bayesian_lottery.models.vgg import VGG
from bayesian_lottery.models.vit import ViT
from bayesian_lottery.models.wrn import WideBlock, WideResNet

Affine = tuple[str, ...]  # the names of a layer and, if there is one, of the norm after it


@dataclass(frozen=True)
class Units:
    """A group of units, each of which may be cut without the others.

    Attributes:
        steps: how their values come about: each step adds the outputs of its layers to the value
            before, and applies `activation`. One step but for a ResNet's shared channels.
        readers: the layers that read the value after any step. Each has equally many columns (input
            channels or features) for every unit, in the units' order.
        activation: elementwise; None where a unit is no function of its own inputs alone (heads).
        size: rows (output channels or features) of a unit in each layer of `steps`.
    """

    steps: tuple[tuple[Affine, ...], ...]
    readers: tuple[str, ...]
    activation: Callable[[Tensor], Tensor] | None = F.relu
    size: int = 1

    @property
    def writers(self) -> list[str]:
        """All layers and norms that have rows of the units."""
        return [name for step in self.steps for affine in step for name in affine]


def groups_of(template: nn.Module) -> list[Units]:
    """The groups of units of a model of `models.build`, in network order.

    Raises:
        InputError: nothing is known of models of its class.
    """
    if type(template) not in STRUCTURES:
        raise InputError(f"model: {type(template).__name__} has no entry in units.STRUCTURES.")
    return STRUCTURES[type(template)](template)


def _chain(*affines: Affine) -> list[Units]:
    """The groups between layers of which each reads the one before alone."""
    return [Units(((affines[i],),), (affines[i + 1][0],)) for i in range(len(affines) - 1)]


def _of_mlp(model: MLP) -> list[Units]:
    return _chain(*((f"hidden.{i}",) for i in range(len(model.hidden))), ("classifier",))


def _of_lenet(model: LeNet5) -> list[Units]:
    return _chain(("conv1",), ("conv2",), ("fc1",), ("fc2",), ("classifier",))


def _of_vgg(model: VGG) -> list[Units]:
    convs = [i for i, layer in enumerate(model.features) if isinstance(layer, Conv2d)]
    return _chain(*((f"features.{i}", f"features.{i + 1}") for i in convs), ("classifier",))


def _of_resnet(model: ResNet) -> list[Units]:
    """Every block's inner channels, and the channels that blocks share by identity shortcuts."""
    groups: list[Units] = []
    steps: list[tuple[Affine, ...]] = [(("conv1", "bn1"),)]
    readers: list[str] = []
    for stage in model.stages:
        for index, block in enumerate(model.get_submodule(stage).children()):
            path = f"{stage}.{index}"
            inner, output = ((f"{path}.conv{i}", f"{path}.bn{i}") for i in (1, 2))
            groups.append(Units(((inner,),), (output[0],)))
            readers.append(inner[0])
            if isinstance(block.shortcut, nn.Identity):
                steps.append((output,))
                continue
            shortcut = (f"{path}.shortcut.0", f"{path}.shortcut.1")
            groups.append(Units(tuple(steps), (*readers, shortcut[0])))
            steps, readers = [(output, shortcut)], []
    return [*groups, Units(tuple(steps), (*readers, "classifier"))]


def _of_wrn(model: WideResNet) -> list[Units]:
    """Every block's inner channels.

    Those that blocks share are not among them: each reader has a norm of its own before it.
    """
    return [
        Units((((f"{path}.conv1", f"{path}.bn2"),),), (f"{path}.conv2",))
        for path, block in model.named_modules()
        if isinstance(block, WideBlock)
    ]


def _of_vit(model: ViT) -> list[Units]:
    """Every block's heads and its perceptron's hidden units.

    The tokens' width is not among them: layer norm's mean and variance depend on it.
    """
    groups = []
    attentions = (layer for layer in model.blocks.modules() if isinstance(layer, Attention))
    for index, attention in enumerate(attentions):
        path, size = f"blocks.{index}", 3 * attention.head_dim
        qkv, projection = (f"{path}.attention.{name}" for name in ("qkv", "projection"))
        groups.append(Units((((qkv,),),), (projection,), activation=None, size=size))
        groups.append(Units((((f"{path}.fc1",),),), (f"{path}.fc2",), F.gelu))
    return groups


STRUCTURES: Mapping[type[nn.Module], Callable[..., list[Units]]] = {
    MLP: _of_mlp,
    LeNet5: _of_lenet,
    VGG: _of_vgg,
    ResNet: _of_resnet,
    ViT: _of_vit,
    WideResNet: _of_wrn,
}
