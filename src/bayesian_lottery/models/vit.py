"""Vision transformers for small images."""

import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.models.layers import Attention, Conv2d, LayerNorm, Linear, Tokens


class EncoderBlock(nn.Module):
    """Pre-norm attention, then a perceptron of four times the width; keeps (S, B, T, D)."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.norm2 = LayerNorm(dim)
        self.fc1 = Linear(dim, 4 * dim)
        self.fc2 = Linear(4 * dim, dim)
        for layer in (self.norm1, self.norm2, self.fc1, self.fc2):
            layer.apart = True

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class ViT(nn.Module):
    """Vision transformer with a class token and learned position embeddings.

    Dosovitskiy et al., "An image is worth 16x16 words" (2021). Dimension 192 with 3 heads is
    ViT-Tiny (Touvron et al., "Training data-efficient image transformers", 2021), 768 with 12 heads
    ViT-Base; small images take smaller patches.

    Args:
        image_shape: (C, H, W), H and W multiples of `patch`.
        classes: number of classes K.
        patch: side of the square patches, in pixels.
        dim: width D of the tokens.
        depth: number of encoder blocks.
        heads: attention heads of each block.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        classes: int,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
    ):
        super().__init__()
        channels, height, width = image_shape
        self.patches = Conv2d(channels, dim, kernel_size=patch, stride=patch)
        self.tokens = Tokens((height // patch) * (width // patch), dim)
        self.blocks = nn.Sequential(*(EncoderBlock(dim, heads) for _ in range(depth)))
        self.norm = LayerNorm(dim)
        self.norm.apart = True
        self.classifier = Linear(dim, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, S·K)."""
        patches = self.patches(images).flatten(2).unflatten(1, (-1, self.tokens.dim))
        x = self.blocks(self.tokens(patches.permute(1, 0, 3, 2)))
        return self.classifier(self.norm(x[:, :, 0]).transpose(0, 1).flatten(1))
