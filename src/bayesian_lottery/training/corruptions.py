"""Corruptions of images (N, C, H, W), float from 0 to 1, by the names of `study.shifts.STRENGTHS`.

Those of Hendrycks and Dietterich (2019) that keep a small image readable, by torchvision's
transforms. Results may leave [0, 1].
"""

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor
from torchvision.transforms import InterpolationMode


def noise(images: Tensor, strength: float, stream: torch.Generator) -> Tensor:
    """Normal noise of this deviation on every value."""
    drawn = torch.randn(images.shape, generator=stream, device=images.device)
    return images + strength * drawn


def blur(images: Tensor, strength: float, stream: torch.Generator) -> Tensor:
    """A Gaussian blur whose deviation is this share of the width."""
    sigma = strength * images.shape[-1]
    reach = 2 * round(3 * sigma) + 1
    most = 2 * min(images.shape[-2:]) - 1  # reflected padding reaches no further
    return transforms.gaussian_blur(images, [min(max(reach, 3), most)] * 2, [sigma, sigma])


def contrast(images: Tensor, strength: float, stream: torch.Generator) -> Tensor:
    """Contrast lowered by this share, around the image's mean."""
    return transforms.adjust_contrast(images, 1 - strength)


def rotation(images: Tensor, strength: float, stream: torch.Generator) -> Tensor:
    """A rotation by this many degrees; the corners are black."""
    return transforms.rotate(images, strength, InterpolationMode.BILINEAR)


def translation(images: Tensor, strength: float, stream: torch.Generator) -> Tensor:
    """A move right and down by this share of the width, at least a pixel; the rest is black."""
    pixels = max(1, round(strength * images.shape[-1]))
    return transforms.affine(images, 0.0, [pixels, pixels], 1.0, [0.0, 0.0])
