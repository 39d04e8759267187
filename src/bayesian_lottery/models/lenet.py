"""LeNet-5."""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.models.layers import Conv2d, Linear


class LeNet5(nn.Module):
    """LeNet-5 (LeCun et al., 1998) with today's ReLU, max-pooling and full connections.

    Smaller images are padded to the 32 x 32 pixels of the paper, as it did with MNIST's 28 x 28.

    Args:
        image_shape: (C, H, W), H and W 28 or 32.
        classes: number of classes K.

    Attributes:
        chain: as `mlp.MLP` has it.
    """

    chain: ClassVar = {"conv1": 2, "conv2": 2, "fc1": 1, "fc2": 1, "classifier": 1}

    def __init__(self, image_shape: tuple[int, int, int], classes: int):
        super().__init__()
        channels, height, width = image_shape
        padding = ((32 - height) // 2, (32 - width) // 2)
        self.conv1 = Conv2d(channels, 6, kernel_size=5, padding=padding)
        self.conv2 = Conv2d(6, 16, kernel_size=5)
        self.fc1 = Linear(16 * 5 * 5, 120)
        self.fc2 = Linear(120, 84)
        self.classifier = Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, S·K)."""
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        return self.classifier(x)
