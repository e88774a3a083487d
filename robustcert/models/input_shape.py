"""Which input shapes a model may take, judged by the shapes of its weights."""

from __future__ import annotations

import math

SIDES = (28, 32, 64, 96, 128, 160, 224, 256, 299)
CHANNELS = (1, 3)

Shape = tuple[int, ...]


def candidate_shapes(weights: list[Shape]) -> list[Shape]:
    """Input shapes worth trying, images first.

    Args:
        weights: shapes of the trained tensors in the model's order.

    Returns:
        Shapes without the batch; empty where the first weight tells nothing.
    """
    matrices = [shape for shape in weights if len(shape) >= 2]
    if not matrices:
        return []
    first = matrices[0]
    if len(first) == 4:
        return [(first[1], side, side) for side in SIDES]
    if len(first) == 2:
        size = first[1]
        return [*_images(size), (size,)]
    return []


def _images(size: int) -> list[Shape]:
    """Square images with ``size`` numbers."""
    images: list[Shape] = []
    for channels in CHANNELS:
        side = math.isqrt(size // channels)
        if side > 1 and channels * side * side == size:
            images.append((channels, side, side))
    return images
