"""Conversion of clips to single frames, for methods that compare single frames with single images."""

from torch import Tensor


def frames(images: Tensor, of_one: int = 3) -> Tensor:
    """Return images (N, C, H, W) as they are and clips (N, T, C, H, W) as N T images; ``of_one=2`` for masks (H, W)."""
    return images.flatten(0, 1) if images.dim() > 1 + of_one else images


def length(images: Tensor) -> int:
    """Return the number of frames of each clip, 1 for single images."""
    return images.shape[1] if images.dim() == 5 else 1


def beside(count: int, pictures: Tensor, of_one: int = 3) -> Tensor:
    """Return the image or mask sampled with each of the ``count`` frames of every clip; of clips, the first frame."""
    return (pictures[:, 0] if pictures.dim() > 1 + of_one else pictures).repeat_interleave(count, 0)
