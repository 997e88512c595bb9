"""Clips as what they are made of, for methods that hold single frames against single pictures."""

from torch import Tensor


def frames(images: Tensor, of_one: int = 3) -> Tensor:
    """Images (N, C, H, W), or clips (N, T, C, H, W) as N T images; with ``of_one = 2`` masks (N, H, W) likewise."""
    return images.flatten(0, 1) if images.dim() > 1 + of_one else images


def length(images: Tensor) -> int:
    """How many frames each clip has, 1 of single images."""
    return images.shape[1] if images.dim() == 5 else 1


def beside(count: int, pictures: Tensor, of_one: int = 3) -> Tensor:
    """For each of so many frames of a clip the picture, or the mask, that was drawn with it; of clips the first."""
    return (pictures[:, 0] if pictures.dim() > 1 + of_one else pictures).repeat_interleave(count, 0)
