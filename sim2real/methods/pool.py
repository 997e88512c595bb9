"""The image pool, which also shows older fakes to discriminators, so that they do not only follow the newest ones."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from sim2real.stored import MisfitError, Rule, fit

_Image = Annotated[Tensor, Rule("an image", lambda image: image.ndim in {3, 4} and image.is_floating_point())]
_Labels = dict[str, Tensor]


class ImagePool:
    """A history of fakes (Shrivastava et al. 2017, as used by Zhu et al. 2017).

    Until the pool is full, it stores and returns every image. Then, for each image, it returns the image itself with
    probability 1/2, and otherwise a random stored image, which the new one replaces. Labels stay with their images.

    Args:
        size: Number of images in the pool; 0: every image is returned unchanged.
        seed: Seed of the random numbers.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size = size
        self.images: list[Tensor] = []
        self.labels: list[_Labels] = []
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor, labels: Mapping[str, Tensor] | None = None) -> tuple[Tensor, _Labels]:
        """Exchange a detached batch (N, C, H, W) and its labels, kind -> (N, ...), for one of the same shapes."""
        labels = dict(labels or {})
        if self.size == 0:
            return images, labels
        rows = [{kind: values[place] for kind, values in labels.items()} for place in range(len(images))]
        exchanged = [self._exchange(*pair) for pair in zip(images, rows, strict=True)]
        stacked = {kind: torch.stack([row[kind] for _, row in exchanged]) for kind in labels}
        return torch.stack([image for image, _ in exchanged]), stacked

    def _exchange(self, image: Tensor, labels: _Labels) -> tuple[Tensor, _Labels]:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            self.labels.append(_copied(labels))
            return image, labels
        if torch.rand((), generator=self.random) < 0.5:
            return image, labels
        place = int(torch.randint(self.size, (), generator=self.random))
        stored, self.images[place] = self.images[place], image.clone()
        old, self.labels[place] = self.labels[place], _copied(labels)
        # a resumed pool is on the CPU
        return stored.to(image.device), {kind: values.to(image.device) for kind, values in old.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the stored images, their labels, and the state of the random numbers."""
        return {"images": self.images, "labels": self.labels, "random": self.random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        images, labels = fit(list[_Image], state["images"]), fit(list[_Labels], state["labels"])
        if len(images) > self.size or len({image.shape for image in images}) > 1 or len(images) != len(labels):
            raise MisfitError("images of another pool")
        self.images, self.labels = images, labels
        self.random.set_state(state["random"])


def _copied(labels: _Labels) -> _Labels:
    """Return copies of labels, which do not keep their whole batch in memory."""
    return {kind: values.clone() for kind, values in labels.items()}
