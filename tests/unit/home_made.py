"""Models as a user writes them: plain torch, no word of this package."""

import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    """Convolutions, one of them depthwise and one padded by reflection, and both batch norms."""

    def __init__(self, num_classes: int, channels: int = 1, width: int = 6):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect", bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.depthwise = nn.Conv2d(width, 2 * width, 3, padding=1, groups=width)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.hidden = nn.Linear(8 * width, 12, bias=False)
        self.norm = nn.BatchNorm1d(12)
        self.head = nn.Linear(12, num_classes)

    def forward(self, x):
        x = self.pool(F.relu(self.depthwise(self.stem(x))))
        return self.head(F.relu(self.norm(self.hidden(x.flatten(1)))))


class Wide(nn.Module):
    """A layer without biases that is large enough for sparse products."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.hidden = nn.Linear(64, 400, bias=False)
        self.head = nn.Linear(400, num_classes)

    def forward(self, x):
        return self.head(F.relu(self.hidden(x.flatten(1))))


class Depthwise(nn.Module):
    """A grouped convolution as the first layer, whose input the samples share."""

    def __init__(self, num_classes: int, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 3, groups=channels)
        self.head = nn.Linear(2 * channels, num_classes)

    def forward(self, x):
        return self.head(F.relu(self.conv(x)).mean((2, 3)))


class Attending(nn.Module):
    """Attention over patches, without a class token or positions."""

    def __init__(self, classes: int, shape: list[int], batch_first: bool = True):
        super().__init__()
        self.patches = nn.Conv2d(shape[0], 8, kernel_size=4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.batch_first = batch_first
        self.head = nn.Linear(8, classes)

    def forward(self, x):
        tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
        tokens = tokens if self.batch_first else tokens.transpose(0, 1)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(tokens.mean(1 if self.batch_first else 0))


class Positions(nn.Module):
    """What cannot carry samples: positions of its own, and a transformer layer of torch's."""

    def __init__(self, num_classes: int, channels: int = 1):
        super().__init__()
        self.patches = nn.Conv2d(channels, 8, kernel_size=4, stride=4)
        self.bn = nn.BatchNorm2d(8)
        self.positions = nn.Parameter(torch.randn(1, 4, 8))
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, num_classes)

    def forward(self, x):
        tokens = self.bn(self.patches(x)).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.block(tokens).mean(1))


class Mixing(Net):
    """A sum over all channels, which would be over those of all samples."""

    def forward(self, x):
        x = self.stem(x)
        return super().forward(x.sum(1, keepdim=True))


OUTPUTS = {
    "mapping": lambda x: {"logits": x},
    "nan": lambda x: x * float("nan"),
    "whole": lambda x: x.long(),
    "softmax": lambda x: x.softmax(1),
    "no_grad": lambda x: x.detach(),
}


class Faulty(nn.Module):
    """One fault after the other."""

    def __init__(self, num_classes: int, fault: str):
        super().__init__()
        self.fault = fault
        self.first = nn.Linear(64, 64)
        self.second = nn.Linear(64, 64)
        self.head = nn.Linear(64, num_classes)
        if fault == "lazy":
            self.second = nn.LazyLinear(64)
        if fault == "shared":
            self.second.weight = self.first.weight
        if fault == "double":
            self.second.double()
        if fault == "complex":
            self.second.weight = nn.Parameter(torch.zeros(64, 64, dtype=torch.complex64))
        if fault == "frozen":
            self.second.weight.requires_grad_(False)
        if fault == "parametrised":
            nn.utils.parametrizations.spectral_norm(self.second)
        if fault == "quantised":
            self.second = torch.ao.nn.quantized.Linear(64, 64)
        if fault == "dropout":
            self.second = nn.Sequential(self.second, nn.Dropout(0.1))
        if fault == "average":
            self.second = nn.BatchNorm1d(64, momentum=None)
        if fault == "unweighted":
            self.second = nn.BatchNorm1d(64, affine=False)
        if fault == "alone":
            self.first = self.second = nn.Identity()
        if fault == "counter":
            self.second.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        x = self.second(self.first(x.flatten(1)))
        if self.fault == "counter":
            self.second.calls.add_(1)
        if self.fault == "functional":
            x = F.dropout(x, 0.1, self.training)
        logits = self.head(x)
        return OUTPUTS.get(self.fault, lambda x: x)(logits)


def not_a_module(num_classes: int) -> list:
    return [num_classes]
