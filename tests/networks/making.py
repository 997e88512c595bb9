"""Inputs of networks for tests."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def batch(*images: NDArray[np.uint8]) -> Tensor:
    """Images (H, W, 3) as a batch (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def seeds(*numbers: int) -> NDArray[np.uint64]:
    """Seeds of the images of a batch."""
    return np.array(numbers, np.uint64)
