"""Residual networks for small images."""

import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.models.layers import BatchNorm2d, Conv2d, Linear


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, (B, S·C, H, W) to (B, S·O, H/stride, W/stride).

    The shortcut is the identity, or a 1x1 convolution with batch norm where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = Conv2d(
            in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.bn1 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        residual = F.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.shortcut(x))


class ResNet(nn.Module):
    """ResNet of basic blocks with a 3x3 stem and no max-pooling, for small images.

    He et al., "Deep residual learning for image recognition" (2016). Three stages of n blocks,
    16 channels wide at first, are its CIFAR family of depth 6n + 2, with the 1x1 shortcuts of
    open_lth (facebookresearch/open_lth) where the paper pads with zeros. Four stages of two blocks,
    64 channels wide, are ResNet-18 with the stem that is customary for CIFAR.

    Args:
        image_shape: (C, H, W).
        classes: number of classes K.
        blocks: number of blocks of each stage; stages after the first halve the resolution.
        width: channels of the first stage; each further stage has twice those of the one before.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], classes: int, blocks: tuple[int, ...], width: int
    ):
        super().__init__()
        self.conv1 = Conv2d(image_shape[0], width, kernel_size=3, padding=1, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.stages = [f"layer{number}" for number in range(1, len(blocks) + 1)]
        channels = width
        for stage, (name, count) in enumerate(zip(self.stages, blocks, strict=True)):
            layers = []
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(ResidualBlock(channels, width * 2**stage, stride))
                channels = width * 2**stage
            self.add_module(name, nn.Sequential(*layers))
        self.classifier = Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, S·K)."""
        x = F.relu(self.bn1(self.conv1(images)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.classifier(x.mean((2, 3)))
