"""Wide residual networks."""

import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.models.layers import BatchNorm2d, Conv2d, Linear

STEM = 16  # channels of the first convolution, whatever the width


class WideBlock(nn.Module):
    """Norm, ReLU and a 3x3 convolution, twice, beside a shortcut; as `resnet.ResidualBlock`.

    The shortcut is the identity, or a 1x1 convolution of the normed input where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.bn1 = BatchNorm2d(in_channels)
        self.conv1 = Conv2d(
            in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False
        )
        self.bn2 = BatchNorm2d(out_channels)
        self.conv2 = Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.shortcut: Conv2d | None = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = Conv2d(
                in_channels, out_channels, kernel_size=1, stride=stride, bias=False
            )

    def forward(self, x: Tensor) -> Tensor:
        normed = F.relu(self.bn1(x))
        residual = self.conv2(F.relu(self.bn2(self.conv1(normed))))
        return residual + (x if self.shortcut is None else self.shortcut(normed))


class WideResNet(nn.Module):
    """Wide ResNet of basic blocks B(3, 3), without dropout.

    Zagoruyko and Komodakis, "Wide residual networks" (2016), table 1: WRN-d-k has three stages of
    (d - 4) / 6 blocks, 16k, 32k and 64k channels wide, behind a convolution of 16 channels.

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
        self.conv1 = Conv2d(image_shape[0], STEM, kernel_size=3, padding=1, bias=False)
        self.stages = nn.Sequential()
        channels = STEM
        for stage, count in enumerate(blocks):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                self.stages.append(WideBlock(channels, width * 2**stage, stride))
                channels = width * 2**stage
        self.bn1 = BatchNorm2d(channels)
        self.classifier = Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, S·K)."""
        x = F.relu(self.bn1(self.stages(self.conv1(images))))
        return self.classifier(x.mean((2, 3)))
