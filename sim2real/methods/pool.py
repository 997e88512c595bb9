"""The image pool, which shows critics older fakes too, so that they do not chase the newest ones alone."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from sim2real.stored import MisfitError, Rule, fit

_Images = list[Annotated[Tensor, Rule("an image", lambda image: image.ndim == 3 and image.is_floating_point())]]


class ImagePool:
    """A history of fakes (Shrivastava et al. 2017, as Zhu et al. 2017 use it).

    Until it is full, it stores and returns what it is given. Then, for each image, it returns the image itself with
    probability 1/2, else a random stored one, which the image replaces.

    Args:
        size: Images it holds; 0: always returns what it is given.
        seed: Seeds its draws.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size = size
        self.images: list[Tensor] = []
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor) -> Tensor:
        """Exchange a batch (N, C, H, W), detached, for one of the same shape."""
        return images if self.size == 0 else torch.stack([self._exchange(image) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if torch.rand((), generator=self.random) < 0.5:
            return image
        place = int(torch.randint(self.size, (), generator=self.random))
        stored, self.images[place] = self.images[place], image.clone()
        return stored.to(image.device)  # a resumed pool comes from the CPU

    def state_dict(self) -> dict[str, Any]:
        """The stored images and the state of the draws."""
        return {"images": self.images, "random": self.random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        self.images = fit(_Images, state["images"])
        if len(self.images) > self.size or len({image.shape for image in self.images}) > 1:
            raise MisfitError("images of another pool")
        self.random.set_state(state["random"])
