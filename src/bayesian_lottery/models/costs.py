"""What each model costs, counted once: what the workflow asks for and estimates without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import nn

AREA = 32**2  # pixels of the images that costs are of


class Cost(NamedTuple):
    """What a model costs with images of 3 x 32 x 32 pixels in 10 classes.

    Attributes:
        parameters: millions of them.
        multiply_adds: millions an image, forward, attention included.
        activations: thousands of numbers an image, over the outputs of all layers.
    """

    parameters: float
    multiply_adds: float
    activations: float


# A test counts these again, and says what an entry should be.
COSTS: Mapping[str, Cost] = {
    "lenet_300_100": Cost(0.953, 0.953, 0.41),
    "lenet5": Cost(0.0620, 0.652, 6.52),
    "resnet20": Cost(0.272, 40.8, 475),
    "resnet110": Cost(1.73, 253, 2630),
    "resnet18": Cost(11.2, 555, 1420),
    "wrn_22_2": Cost(1.08, 158, 778),
    "vgg11": Cost(9.23, 153, 486),
    "vgg19": Cost(20.0, 398, 941),
    "vit_tiny": Cost(5.36, 365, 1670),
    "vit_base": Cost(85.2, 5600, 6690),
    "lenet_100_50": Cost(0.313, 0.313, 0.16),
    "mlp_20": Cost(0.0617, 0.0616, 0.03),
    "resnet8": Cost(0.0780, 12.5, 188),
    "resnet8_slim": Cost(0.0200, 3.24, 94.2),
    "resnet14_slim": Cost(0.0444, 6.78, 166),
    "vgg5_slim": Cost(0.0158, 1.40, 52.7),
    "vit_nano": Cost(0.0295, 2.24, 49.9),
}


def count(model: nn.Module, image_shape: tuple[int, int, int]) -> Cost:
    """The cost of any model for images (C, H, W), as if its layers' outputs grew with the image."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    activations: list[int] = []

    def add(layer: nn.Module, _: object, output: object) -> None:
        parts = output if isinstance(output, tuple) else (output,)
        if not list(layer.children()):
            activations.extend(p.numel() for p in parts if isinstance(p, torch.Tensor))

    handles = [layer.register_forward_hook(add) for layer in model.modules()]
    training = model.training
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *image_shape, device=device))
    model.train(training)
    for handle in handles:
        handle.remove()
    scale = AREA / (image_shape[1] * image_shape[2])
    return Cost(
        sum(p.numel() for p in model.parameters()) / 1e6,
        scale * counter.get_total_flops() / 2e6,
        scale * sum(activations) / 1e3,
    )


def by_layer(model: nn.Module, image_shape: tuple[int, int, int]) -> tuple[dict[str, int], int]:
    """Multiply-adds of an image (C, H, W) forward: of each weight of a layer; and all else."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from bayesian_lottery.models.layers import Conv2d, Linear

    counts: dict[str, int] = {}
    handles = []
    for name, layer in model.named_modules():
        if isinstance(layer, (Conv2d, Linear)):

            def add(layer: nn.Module, _: object, output: torch.Tensor, name: str = name) -> None:
                weight = layer.get_parameter("weight")
                places = output.numel() // len(weight)  # at which each weight is used
                counts[f"{name}.weight"] = counts.get(f"{name}.weight", 0) + places * weight.numel()

            handles.append(layer.register_forward_hook(add))
    device, training = next(model.parameters()).device, model.training
    plain = sdpa_kernel(SDPBackend.MATH)  # of fused attention on a CPU the counter knows nothing
    with plain, FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *image_shape, device=device))
    model.train(training)
    for handle in handles:
        handle.remove()
    return counts, counter.get_total_flops() // 2 - sum(counts.values())
