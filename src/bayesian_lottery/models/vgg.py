"""VGG networks for small images."""

from torch import Tensor, nn

from bayesian_lottery.models.layers import BatchNorm2d, Conv2d, Linear


class VGG(nn.Module):
    """VGG with batch norm and a single linear classifier after global average pooling.

    Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition"
    (2015). The convolutional part is torchvision's `vgg*_bn`, biases and layer names included; the
    one linear layer in place of three is customary for CIFAR.

    Args:
        image_shape: (C, H, W).
        classes: number of classes K.
        stages: channels of each stage's convolutions; every stage ends by halving the resolution.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        stages: tuple[tuple[int, ...], ...],
    ):
        super().__init__()
        layers, channels = [], image_shape[0]
        for stage in stages:
            for width in stage:
                conv = Conv2d(channels, width, kernel_size=3, padding=1)
                layers += [conv, BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, S·K)."""
        return self.classifier(self.features(images).mean((2, 3)))
