"""Multilayer perceptrons."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.models.layers import Linear


class MLP(nn.Module):
    """Fully connected layers with ReLU.

    LeNet-300-100 (LeCun et al., "Gradient-based learning applied to document recognition", 1998) is
    `hidden=(300, 100)`.

    Args:
        image_shape: (C, H, W).
        classes: number of classes K.
        hidden: widths of the hidden layers.

    Attributes:
        chain: the layers in their order, and the side of the max-pooling after each; ReLU comes
            before it, but for the last. Models that are no such chain have none.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, hidden: tuple[int, ...]):
        super().__init__()
        widths = (math.prod(image_shape), *hidden)
        self.hidden = nn.ModuleList(map(Linear, widths[:-1], widths[1:]))
        self.classifier = Linear(widths[-1], classes)
        self.chain = dict.fromkeys([*(f"hidden.{i}" for i in range(len(hidden))), "classifier"], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, S·K)."""
        x = images.flatten(1)
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.classifier(x)
