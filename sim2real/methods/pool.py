"""The image pool, which shows discriminators older fakes too, so that they do not chase the newest ones alone."""

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from torch import Tensor

from sim2real.stored import MisfitError, Rule, fit

_Image = Annotated[Tensor, Rule("an image", lambda image: image.ndim in {3, 4} and image.is_floating_point())]
_Labels = dict[str, Tensor]


class ImagePool:
    """A history of fakes (Shrivastava et al. 2017, as Zhu et al. 2017 use it).

    Until it is full, it stores and returns what it is given. Then, for each image, it returns the image itself with
    probability 1/2, else a random stored one, which the image replaces. Labels stay with their images.

    Args:
        size: Images it holds; 0: always returns what it is given.
        seed: Seeds its draws.
    """

    def __init__(self, size: int, *, seed: int) -> None:
        self.size = size
        self.images: list[Tensor] = []
        self.labels: list[_Labels] = []
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor, labels: Mapping[str, Tensor] | None = None) -> tuple[Tensor, _Labels]:
        """Exchange a batch (N, C, H, W), detached, and its labels, kind -> (N, ...), for one of the same shapes."""
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
        # a resumed pool comes from the CPU
        return stored.to(image.device), {kind: values.to(image.device) for kind, values in old.items()}

    def state_dict(self) -> dict[str, Any]:
        """The stored images, their labels, and the state of the draws."""
        return {"images": self.images, "labels": self.labels, "random": self.random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        images, labels = fit(list[_Image], state["images"]), fit(list[_Labels], state["labels"])
        if len(images) > self.size or len({image.shape for image in images}) > 1 or len(images) != len(labels):
            raise MisfitError("images of another pool")
        self.images, self.labels = images, labels
        self.random.set_state(state["random"])


def _copied(labels: _Labels) -> _Labels:
    """Labels that do not keep those of their whole batch in memory."""
    return {kind: values.clone() for kind, values in labels.items()}
