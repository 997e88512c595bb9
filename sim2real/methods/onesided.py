"""Training with a generator and a discriminator but no cycle, for generators that cannot move content.

A generator that only changes light and colours needs no cycle or contrastive loss to preserve content. The
discriminator alone decides what looks real. The statistics of one real image, sampled for each simulated one, keep
generator and discriminator from oscillating.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sim2real.errors import SettingsError
from sim2real.methods.adversarial import AdversarialMethod
from sim2real.methods.base import (
    Batch,
    Inputs,
    Losses,
    MethodSettings,
    Networks,
    RankState,
    StepLog,
    detached,
    means,
)
from sim2real.methods.clips import beside, frames, length
from sim2real.methods.discriminator_trainer import DiscriminatorTrainer
from sim2real.methods.segmenting import Masks, OnlineSegmenter
from sim2real.networks.range_adapter import flattened
from sim2real.networks.statistics import class_moments, colour_moments, radial_spectrum, recoloured, unevenness

_BANDS = 16
_LEAST_SHARE = 0.005  # of the pixels, below which the colours of a class are not compared
_DIRECTIONS = {"real": "sim2real", "sim": "real2sim"}  # by target side
_OTHER = {"real": "sim", "sim": "real"}
_Numbers = np.ndarray[Any, np.dtype[np.uint64]]
_Made = Mapping[str, tuple[Tensor, Losses]]  # translations and their penalties by target side


class Part(NamedTuple):
    """A part of a batch, with seeds for its translations and the classes of its images.

    Attributes:
        batch: The images.
        seeds: A seed for each image, uint64 (N,).
        masks: The masks of both sides; None without a segmenter.
    """

    batch: Batch
    seeds: _Numbers
    masks: Masks | None


class OneSided(AdversarialMethod[Part, _Made]):
    """Unpaired translation with a discriminator and with statistics of single images.

    One direction is trained, or both independently. In each step, discriminators are updated first.

    A generator may have the methods ``paint(images, styles, seeds)``, which returns images and penalties such as
    ``roughness`` and ``unevenness``, ``style_of(images)`` and ``keep(styles)``. Its styles are then those of the images
    sampled from the other side; see :class:`sim2real.networks.grid.Grid`. If a generator has ``reach(share)``, it is
    called before each step with the completed share of the training; see
    :class:`sim2real.networks.textured.TexturedGrid`.

    Args:
        networks: Factories for the networks.
        settings: Losses, learning rates, device.
        moments: Weight of the distance of the colours' mean and root of the covariance from those of the sampled image,
            for colours in a range of 1.
        spectrum: Weight of the distance of the logarithmic spectra, in 16 bands.
        roughness: Weight of the roughness that ``paint`` returns.
        unevenness: Weight of spatial variation in the change of images where the images themselves do not vary, see
            :func:`sim2real.networks.statistics.unevenness`.
        inversion: Weight of the inversion that ``paint`` returns: how far brighter tones become darker ones.
        overshoot: Weight of the distance by which translations exceed [-1, 1].
        class_moments: Weight of the distance of the colours' mean and spread in each class from those of the same class
            in the sampled real image. The simulated images need masks; a segmenter that is trained on them at the same
            time predicts the classes of real images without masks.
        consistency: Weight of the disagreement between the classes that this segmenter predicts for translations and
            the frames' masks.
        masked: Whether discriminators judge only pixels where a frame and the real image sampled with it show the same
            class, like the masked discriminator of FeaMGAN (Berger et al. 2023), so that class frequencies give no
            clue. Only for discriminators that score patches.
        discriminator_loss_scale: Factor of the discriminators' losses.
        back: Whether real images are also translated into simulated ones, with a generator and a discriminator of their
            own.

    Raises:
        SettingsError: If an option is out of range, or does not fit the other settings.
    """

    computes: ClassVar[frozenset[str]] = frozenset({"real", "fake_real", "fake_sim"})

    def __init__(
        self,
        networks: Networks,
        settings: MethodSettings,
        *,
        moments: float = 0.5,
        spectrum: float = 0.1,
        roughness: float = 0.01,
        unevenness: float = 20.0,
        inversion: float = 10.0,
        overshoot: float = 0.5,
        class_moments: float = 0.0,
        consistency: float = 0.0,
        masked: bool = False,
        discriminator_loss_scale: float = 1.0,
        back: bool = False,
    ) -> None:
        super().__init__(settings)
        self.weights = {"moments": moments, "spectrum": spectrum, "overshoot": overshoot}
        self.weights |= {"roughness": roughness, "unevenness": unevenness, "inversion": inversion}
        self.of_classes = {"class_moments": class_moments, "consistency": consistency}
        for name, weight in {
            **self.weights,
            **self.of_classes,
            "discriminator_loss_scale": discriminator_loss_scale,
        }.items():
            if not isinstance(weight, int | float) or weight < 0:
                raise SettingsError(f"method.options.{name} = {weight!r} must be a number of at least 0")
        if "fake_sim" in settings.needs and not back:
            raise SettingsError(
                "method.options.back = false, but a loss needs translations to the simulation: set back = true"
            )
        seed = settings.seed + (1 + back) * settings.rank
        self.seeds = _Seeds(seed)
        self.ways = {
            goal: _Way(networks, settings, discriminator_loss_scale, seed + number)
            for number, goal in enumerate(("real", "sim")[: 1 + back])
        }
        self.generators = {_DIRECTIONS[goal]: way.generator for goal, way in self.ways.items()}
        self.networks = {f"G_{direction}": network for direction, network in self.generators.items()}
        self.sides = {f"G_{_DIRECTIONS[goal]}": (_OTHER[goal],) for goal in self.ways}
        self.networks |= {f"D_{goal}": way.discriminator for goal, way in self.ways.items()}
        self.trainers = {f"D_{goal}": way.trainer for goal, way in self.ways.items()}
        self.discriminators = tuple(self.trainers)
        discriminators = [way.discriminator for way in self.ways.values()]
        self.masked = masked
        self.masks_for_discriminators = masked or any(
            "segmentation" in discriminator.kinds for discriminator in discriminators
        )
        if masked and settings.image_pool_size:
            raise SettingsError("method.options.masked: older fakes have other masks; set image_pool_size = 0")
        if masked and any(name != "color" for name in settings.regularization.augment):
            raise SettingsError(
                f"method.options.masked: discriminator.regularization.augment = {settings.regularization.augment} "
                "would move images off the masks; only color is accepted"
            )
        self.segmenter = (
            OnlineSegmenter(len(settings.classes), settings)
            if self.masks_for_discriminators or any(self.of_classes.values())
            else None
        )
        if self.segmenter:
            self.inputs = ("segmentation",)
            # the segmenter predicts the masks of real images
            self.sides |= {
                f"D_{goal}": ("sim",) for goal, way in self.ways.items() if way.discriminator.kinds == self.inputs
            }
            self.networks |= {"segmenter": self.segmenter}
            self.sides |= {"segmenter": ("sim",)}
            self.optimization.add("segmenter", self.segmenter, lr=settings.generator_lr)
        self.optimization.add("G", *self.generators.values(), lr=settings.generator_lr)
        self.optimization.add("D", *(way.discriminator for way in self.ways.values()), lr=settings.discriminator_lr)

    def step(self, batch: Batch) -> StepLog:
        """Update the discriminators and the generators once.

        Logged are ``"adversarial_real"``, ``"moments"``, ``"spectrum"``, ``"overshoot"``, ``"unevenness"``, for
        generators with ``paint`` also ``"roughness"`` and ``"inversion"``, the other terms, ``"D_real"``, and the
        penalties that CycleGAN logs for its discriminators. Losses of the way back end in ``_sim``:
        ``"adversarial_sim"``.
        """
        parts = batch.split(self.settings.gradient_accumulation_steps)
        seeds = [self.seeds.draw(len(part.sim)) for part in parts]
        for goal, way in self.ways.items():
            way.keep(getattr(batch, goal))
        lessons = self._teach(self.segmenter, parts) if self.segmenter else {}
        return self.finished(self.update([self._part(*each) for each in zip(parts, seeds, strict=True)]) | lessons)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """Return the generators' losses on a batch, without updates and without using the training's random numbers."""
        part = self._part(batch, np.arange(len(batch.sim), dtype=np.uint64))
        return StepLog(detached(self.generator_terms(part, self.translate(part), augments=False)))

    def _teach(self, segmenter: OnlineSegmenter, parts: Sequence[Batch]) -> Losses:
        """Update the segmenter, with half of the frames recoloured like real images; return its loss."""
        losses = []
        self.optimization.zero_grad()
        for part in parts:
            images, pictures = frames(part.sim).float(), beside(length(part.sim), part.real).float()
            half = len(images) // 2
            seen = torch.cat([recoloured(images[:half], pictures[:half]), images[half:]])
            losses.append({"segmenter": segmenter.loss(seen, frames(part.sim_inputs["segmentation"], of_one=2))})
            self.optimization.backward(losses[-1]["segmenter"])
        self.optimization.step("segmenter")
        segmenter.end_step()
        return means([detached(each) for each in losses])

    def _part(self, batch: Batch, seeds: _Numbers) -> Part:
        masks = (
            self.segmenter.masks(batch, for_discriminators=self.masks_for_discriminators) if self.segmenter else None
        )
        return Part(batch, seeds, masks)

    def translate(self, part: Part) -> _Made:
        """Return the translations and their penalties by target side."""
        batch, inputs = part.batch, {"real": part.batch.sim_inputs, "sim": part.batch.real_inputs}
        with self.settings.autocast():
            return {
                goal: way.translate(getattr(batch, _OTHER[goal]), inputs[goal], getattr(batch, goal), part.seeds)
                for goal, way in self.ways.items()
            }

    def _judged(self, part: Part) -> dict[str, Inputs]:
        """Return the labels of both sides that discriminators see."""
        inputs, masks = {"real": part.batch.real_inputs, "sim": part.batch.sim_inputs}, part.masks
        return {side: {**inputs[side], "segmentation": masks.known(side)} for side in inputs} if masks else inputs

    def discriminator_losses(self, part: Part, fakes: _Made) -> Iterator[tuple[str, Losses]]:
        """Yield the losses of each discriminator."""
        inputs, masks = self._judged(part), part.masks
        for goal, way in self.ways.items():
            other, images = _OTHER[goal], getattr(part.batch, goal)
            where = (masks.alike(goal, other), masks.alike(other, goal)) if masks and self.masked else None
            found = way.trainer.discriminator_loss(images, fakes[goal][0], inputs[goal], inputs[other], where)
            yield f"D_{goal}", found

    def generator_terms(self, part: Part, fakes: _Made, *, augments: bool) -> Losses:
        """Return the weighted terms of the generators' loss."""
        terms: Losses = {}
        batch, masks, inputs = part.batch, part.masks, self._judged(part)
        for goal, way in self.ways.items():
            (fake, painted), other, end = fakes[goal], _OTHER[goal], "" if goal == "real" else f"_{goal}"
            where = masks.alike(other, goal) if masks and self.masked else None
            own = {**_unlikeness(frames(fake), beside(length(fake), getattr(batch, goal))), **painted}
            own["overshoot"] = (fake.float().abs() - 1).relu().mean()
            adversarial = way.trainer.generator_loss(fake, inputs[other], augments=augments, where=where)
            terms[f"adversarial_{goal}"] = adversarial
            terms |= {name + end: weight * own[name] for name, weight in self.weights.items() if weight and name in own}
        if self.segmenter and masks:
            classes, fake = frames(batch.sim_inputs["segmentation"], of_one=2), frames(fakes["real"][0])
            if weight := self.of_classes["class_moments"]:
                terms["class_moments"] = weight * (masks.trust * self._apart(batch, fake, classes, masks.real))
            if weight := self.of_classes["consistency"]:
                terms["consistency"] = weight * self.segmenter.disagreement(fake, classes)
        return {**terms, **self.weighted(batch, **{f"fake_{goal}": fake for goal, (fake, _) in fakes.items()})}

    def _apart(self, batch: Batch, fakes: Tensor, own: Tensor, real: Tensor) -> Tensor:
        """Return the mean distance, over classes, of a class's colours from those in the sampled real image."""
        pictures, labelled = (beside(length(batch.sim), *each) for each in ((batch.real, 3), (real, 2)))
        count = max(1, len(self.settings.classes))
        (shares, mean, spread), (wanted_shares, wanted_mean, wanted_spread) = (
            class_moments(each.float() / 2 + 0.5, of, count) for each, of in ((fakes, own), (pictures, labelled))
        )
        weights = torch.minimum(shares, wanted_shares)
        weights = (weights * (weights > _LEAST_SHARE)).sqrt()
        apart = (mean - wanted_mean).abs().sum(-1) + (spread - wanted_spread).abs().sum(-1)
        return (weights * apart).sum() / weights.sum().clamp(min=1e-3)

    def reach(self, share: float) -> None:
        """Pass the completed share of the training to the generators that have ``reach``."""
        for way in self.ways.values():
            way.reach(share)

    def stateful(self) -> Mapping[str, DiscriminatorTrainer]:
        """Return the trainers of the discriminators."""
        return {f"trainer_{goal}": way.trainer for goal, way in self.ways.items()}

    def own(self) -> Mapping[str, RankState]:
        """Return the trainers with their pools and augmentations, the segmenter, and the seeds."""
        segmenter = {"segmenter": self.segmenter} if self.segmenter else {}
        return {**self.stateful(), **segmenter, "seeds": self.seeds}


class _Way:
    """One direction: a generator and the discriminator that it is trained against."""

    def __init__(self, networks: Networks, settings: MethodSettings, scale: float, seed: int) -> None:
        self.generator, self.discriminator = networks.generator(), networks.discriminator()
        self.trainer = DiscriminatorTrainer(self.discriminator, settings, scale=scale, seed=seed)
        self.paints = hasattr(self.generator.network, "paint")

    def reach(self, share: float) -> None:
        """Pass the completed share of the training to the generator if it has ``reach``."""
        reach: Callable[[float], None] | None = getattr(self.generator.network, "reach", None)
        if reach:
            reach(share)

    def keep(self, pictures: Tensor) -> None:
        """Keep the styles of images of the target side, if the generator has styles."""
        if self.paints:
            painter: Any = self.generator.network
            painter.keep(painter.style_of(frames(pictures)))

    def translate(self, images: Tensor, inputs: Inputs, others: Tensor, seeds: _Numbers) -> tuple[Tensor, Losses]:
        """Return translations of images and their penalties, such as ``unevenness``."""
        if getattr(self.generator, "clip_length", 1) == 1:  # frames of a clip get seeds of their own
            places = np.arange(length(images), dtype=np.uint64)
            seeds = (seeds[:, None] + places).ravel()
        if self.paints:
            painter: Any = self.generator.network
            styles, labels = painter.style_of(beside(length(images), others)), self._labels(images, inputs)
            made, terms = painter.paint(frames(images), styles, seeds, **labels)
            return self.generator.as_transferred(images, made.view_as(images)), terms
        more = {"seeds": seeds} if getattr(self.generator.network, "stochastic", False) else {}
        fake: Tensor = self.generator(images, inputs, **more)
        before, after = (frames(each).float() / 2 + 0.5 for each in (images, fake))
        return fake, {"unevenness": unevenness(before, after)}

    def _labels(self, images: Tensor, inputs: Inputs) -> dict[str, Inputs]:
        """Return further keyword arguments of ``paint``: the labels of single frames that the generator requests."""
        seen = {kind: inputs[kind] for kind in self.generator.kinds}
        return {"inputs": flattened(seen) if images.dim() == 5 else seen} if seen else {}


def _unlikeness(fakes: Tensor, pictures: Tensor) -> Losses:
    """Return the distances of the colours and the spectra of fakes from those of the images sampled with them."""
    fakes, pictures = fakes.float() / 2 + 0.5, pictures.float() / 2 + 0.5
    (mean, root), (wanted_mean, wanted_root) = colour_moments(fakes), colour_moments(pictures)
    apart = (mean - wanted_mean).abs().sum(1) + torch.linalg.matrix_norm(root - wanted_root)
    spectra = radial_spectrum(fakes, _BANDS) - radial_spectrum(pictures, _BANDS)
    return {"moments": apart.mean(), "spectrum": spectra.abs().mean()}


class _Seeds:
    """Random seeds for generators, different in each process."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> _Numbers:
        """Return ``count`` seeds."""
        return torch.randint(2**62, (count,), generator=self.random).numpy().astype(np.uint64)

    def rank_state_dict(self) -> dict[str, Any]:
        """Return the state of the random numbers."""
        return {"random": self.random.get_state()}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``rank_state_dict`` returned."""
        self.random.set_state(state["random"])
