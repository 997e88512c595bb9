"""A generator and a discriminator, and no cycle: for generators that cannot move what they see.

Where a generator only decides on light and colours, nothing has to be held in place by cycles or by contrast: the
discriminator alone says what is real. Statistics of one real picture, sampled for each simulated one, keep the two from
going in circles.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sim2real.errors import SettingsError
from sim2real.losses import LossInputs
from sim2real.methods.base import (
    Batch,
    Inputs,
    Losses,
    Method,
    MethodSettings,
    Networks,
    RankState,
    StepLog,
    detached,
    frozen,
    means,
    sum_of,
)
from sim2real.methods.clips import beside, frames, length
from sim2real.methods.discriminator_trainer import DiscriminatorTrainer, discriminator_log
from sim2real.methods.segmenting import Masks, OnlineSegmenter
from sim2real.networks.range_adapter import flattened
from sim2real.networks.statistics import class_moments, colour_moments, radial_spectrum, recoloured, unevenness

_BANDS = 16
_LEAST_SHARE = 0.005  # of the pixels: of fewer, a class has no colours to speak of
_DIRECTIONS = {"real": "sim2real", "sim": "real2sim"}  # by what they make
_OTHER = {"real": "sim", "sim": "real"}
_Numbers = np.ndarray[Any, np.dtype[np.uint64]]


class OneSided(Method):
    """Unpaired translation by a discriminator and by the statistics of single pictures, one way, or each way by itself.

    A generator may offer ``paint(images, styles, seeds)``, which gives pictures, how rough they are, and how uneven
    what was done to them is, with ``style_of(images)`` and ``keep(styles)``: its styles are then those of the pictures
    of the other side that are drawn; see :class:`sim2real.networks.grid.Grid`. One that offers ``name_classes(names)``
    is told the names of the run's classes, one that offers ``reach(share)`` before each step how much of the training
    is over; see :class:`sim2real.networks.textured.TexturedGrid`. Discriminators are updated first.

    Args:
        networks: Makes the networks.
        settings: Losses, rates, device.
        moments: Weight of how far the mean and the root of the covariance of the colours are from the drawn picture's,
            of a range of 1.
        spectrum: Weight of how far the logarithms of its spectrum are, in 16 bands.
        roughness: Weight of what a generator that paints says of how rough it does.
        unevenness: Weight of how much what is done to images changes from place to place where they do not, see
            :func:`sim2real.networks.statistics.unevenness`.
        inversion: Weight of how far a generator that paints makes the brighter the darker.
        overshoot: Weight of how far pictures are out of [-1, 1].
        class_moments: Weight of how far the mean and the spread of the colours of each class are from those of that
            class in the drawn real picture; the simulation needs masks, and a segmenter that learns them beside the
            training tells the classes of real pictures without any.
        consistency: Weight of how much that segmenter finds other classes in translated frames than their masks tell.
        masked: Whether discriminators judge only where a frame and the real picture drawn with it show the same class,
            as the masked discriminator of FeaMGAN (Berger et al. 2023): what one side shows more of is no clue. For
            discriminators that score patches.
        discriminator_loss_scale: Factor of the discriminators' losses.
        back: Whether real pictures are made simulated ones, too, by a generator and against a discriminator of their
            own.
    """

    computes: ClassVar[frozenset[str]] = frozenset({"real", "fake_real", "fake_sim"})
    reads: ClassVar[frozenset[str] | None] = frozenset(
        {"image_pool_size", "discriminator", "losses", "optim", "schedule", "train.gradient_accumulation_steps"}
    )

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
                "method.options.back = false, and a loss needs what the way back makes: say back = true"
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
        self.discriminators = tuple(f"D_{goal}" for goal in self.ways)
        discriminators = [way.discriminator for way in self.ways.values()]
        self.masked = masked
        self.tells = masked or any("segmentation" in discriminator.kinds for discriminator in discriminators)
        if masked and settings.image_pool_size:
            raise SettingsError("method.options.masked: older fakes have other masks; it needs image_pool_size = 0")
        if masked and any(name != "color" for name in settings.regularization.augment):
            raise SettingsError(
                f"method.options.masked: discriminator.regularization.augment = {settings.regularization.augment} "
                "would move images off the masks; accepted with it: color"
            )
        self.segmenter = (
            OnlineSegmenter(len(settings.classes), settings) if self.tells or any(self.of_classes.values()) else None
        )
        if self.segmenter:
            self.inputs = ("segmentation",)
            # of real pictures there are masks anyway
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

        It logs ``"adversarial_real"``, ``"moments"``, ``"spectrum"``, ``"overshoot"``, ``"unevenness"``, of a generator
        that paints ``"roughness"`` and ``"inversion"``, and the other terms, ``"D_real"``, and of the discriminator
        what CycleGAN logs of its discriminators; of the way back the same with ``_sim`` at the end,
        ``"adversarial_sim"``.
        """
        parts = batch.split(self.settings.gradient_accumulation_steps)
        seeds = [self.seeds.draw(len(part.sim)) for part in parts]
        for goal, way in self.ways.items():
            way.keep(getattr(batch, goal))
        self.optimization.zero_grad()
        lessons = self._teach(self.segmenter, parts) if self.segmenter else {}
        masks = [self._masks(part) for part in parts]
        with torch.set_grad_enabled(len(parts) == 1):  # the graphs of all parts at once would fill the memory
            made = [self._translate(*each) for each in zip(parts, seeds, strict=True)]
        discriminators = [self._backward_discriminators(*each) for each in zip(parts, made, masks, strict=True)]
        self.optimization.step("D")
        if len(parts) > 1:
            made = map(self._translate, parts, seeds)  # type: ignore[assignment]  # one at a time
        generators = [self._backward_generators(*each) for each in zip(parts, made, masks, strict=True)]
        self.optimization.step("G")
        self.optimization.finish()
        self.latest |= means(generators) | means(discriminators) | lessons
        if self.settings.regularization.augment:
            probabilities = [way.trainer.probability for way in self.ways.values()]
            self.latest["augment_p"] = torch.stack(probabilities).mean()
        for way in self.ways.values():
            way.trainer.end_step()
        return StepLog(self.latest.copy())

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """The generators' losses on a batch, nothing updated and nothing drawn."""
        made = self._translate(batch, np.arange(len(batch.sim), dtype=np.uint64))
        return StepLog(detached(self._terms(batch, made, self._masks(batch), augments=False)))

    def _teach(self, segmenter: OnlineSegmenter, parts: Sequence[Batch]) -> Losses:
        """Update the segmenter: half of the frames in the colours of real ones, all in another light."""
        losses = []
        for part in parts:
            images, pictures = frames(part.sim).float(), beside(length(part.sim), part.real).float()
            half = len(images) // 2
            seen = torch.cat([recoloured(images[:half], pictures[:half]), images[half:]])
            losses.append({"segmenter": segmenter.loss(seen, frames(part.sim_inputs["segmentation"], of_one=2))})
            self.optimization.backward(losses[-1]["segmenter"])
        self.optimization.step("segmenter")
        segmenter.end_step()
        return means([detached(each) for each in losses])

    def _masks(self, batch: Batch) -> Masks | None:
        """The classes of a batch, where they are of use."""
        return self.segmenter.masks(batch, for_discriminators=self.tells) if self.segmenter else None

    def _translate(self, batch: Batch, seeds: _Numbers) -> dict[str, tuple[Tensor, Losses]]:
        """Pictures by the side that they are to be of, and what says how rough and how uneven they are."""
        with self.settings.autocast():
            return {
                goal: way.translate(getattr(batch, _OTHER[goal]), inputs, getattr(batch, goal), seeds)
                for goal, way, inputs in self._with_inputs(batch)
            }

    def _with_inputs(self, batch: Batch) -> Iterator[tuple[str, "_Way", Inputs]]:
        """The ways, with the labels of what is translated."""
        inputs = {"real": batch.sim_inputs, "sim": batch.real_inputs}
        return ((goal, way, inputs[goal]) for goal, way in self.ways.items())

    def _judged(self, batch: Batch, masks: Masks | None) -> dict[str, Inputs]:
        """What discriminators know of the images of both sides."""
        inputs = {"real": batch.real_inputs, "sim": batch.sim_inputs}
        return {side: {**inputs[side], "segmentation": masks.known(side)} for side in inputs} if masks else inputs

    def _backward_discriminators(
        self, batch: Batch, made: dict[str, tuple[Tensor, Losses]], masks: Masks | None
    ) -> Losses:
        """Add what a part of a batch gives to the gradients of the discriminators; returns their losses."""
        losses, inputs = {}, self._judged(batch, masks)
        for goal, way in self.ways.items():
            other = _OTHER[goal]
            where = (masks.alike(goal, other), masks.alike(other, goal)) if masks and self.masked else None
            found = way.trainer.discriminator_loss(
                getattr(batch, goal), made[goal][0], inputs[goal], inputs[other], where
            )
            self.optimization.backward(sum_of(found))
            losses[f"D_{goal}"] = found
        return discriminator_log(losses, self.settings.regularization)

    def _backward_generators(self, batch: Batch, made: dict[str, tuple[Tensor, Losses]], masks: Masks | None) -> Losses:
        """Likewise of the generators."""
        with frozen(*(way.discriminator for way in self.ways.values())):
            terms = self._terms(batch, made, masks, augments=True)
            self.optimization.backward(sum_of(terms))
        return detached(terms)

    def _terms(
        self, batch: Batch, made: dict[str, tuple[Tensor, Losses]], masks: Masks | None, *, augments: bool
    ) -> Losses:
        """The weighted terms of the generators' loss."""
        terms: Losses = {}
        inputs = self._judged(batch, masks)
        for goal, way in self.ways.items():
            fake, painted = made[goal]
            other = _OTHER[goal]
            where = masks.alike(other, goal) if masks and self.masked else None
            own = {**_unlikeness(frames(fake), beside(length(fake), getattr(batch, goal))), **painted}
            own["overshoot"] = (fake.float().abs() - 1).relu().mean()
            end = "" if goal == "real" else f"_{goal}"
            terms[f"adversarial_{goal}"] = way.trainer.generator_loss(
                fake, inputs[other], augments=augments, where=where
            )
            terms |= {name + end: weight * own[name] for name, weight in self.weights.items() if weight and name in own}
        if self.segmenter and masks:
            found = self._of_classes(self.segmenter, batch, masks, made["real"][0])
            terms |= {name: weight * found[name]() for name, weight in self.of_classes.items() if weight}
        given = LossInputs(
            sim=batch.sim,
            real=batch.real,
            sim_inputs=batch.sim_inputs,
            real_inputs=batch.real_inputs,
            **{f"fake_{goal}": fake for goal, (fake, _) in made.items()},
        )
        return {**terms, **self.settings.weighted(given)}

    def _of_classes(
        self, segmenter: OnlineSegmenter, batch: Batch, masks: Masks, fake: Tensor
    ) -> Mapping[str, Callable[[], Tensor]]:
        """How far each class is from its own colours, and from what it was."""
        own, fakes = frames(batch.sim_inputs["segmentation"], of_one=2), frames(fake)
        return {
            "class_moments": lambda: masks.trust * self._apart(batch, fakes, own, masks.real),
            "consistency": lambda: segmenter.disagreement(fakes, own),
        }

    def _apart(self, batch: Batch, fakes: Tensor, own: Tensor, real: Tensor) -> Tensor:
        """How far the colours of each class are from those in the picture beside, on average over classes."""
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
        """Tell it to the generators that want to know."""
        for way in self.ways.values():
            way.reach(share)

    def stateful(self) -> Mapping[str, DiscriminatorTrainer]:
        """What is known of the discriminators' scores."""
        return {f"trainer_{goal}": way.trainer for goal, way in self.ways.items()}

    def own(self) -> Mapping[str, RankState]:
        """The discriminators' pools, the draws of their augmentation, and those of seeds and of the segmenter."""
        segmenter = {"segmenter": self.segmenter} if self.segmenter else {}
        return {**self.stateful(), **segmenter, "seeds": self.seeds}


class _Way:
    """A generator and the discriminator that it is trained against."""

    def __init__(self, networks: Networks, settings: MethodSettings, scale: float, seed: int) -> None:
        self.generator, self.discriminator = networks.generator(), networks.discriminator()
        self.trainer = DiscriminatorTrainer(self.discriminator, settings, scale=scale, seed=seed)
        self.paints = hasattr(self.generator.network, "paint")
        name_classes: Callable[[Sequence[str]], None] | None = getattr(self.generator.network, "name_classes", None)
        if name_classes:
            name_classes(settings.classes)

    def reach(self, share: float) -> None:
        """Tell a generator that wants to know how much of the training is over."""
        reach: Callable[[float], None] | None = getattr(self.generator.network, "reach", None)
        if reach:
            reach(share)

    def keep(self, pictures: Tensor) -> None:
        """Keep the styles of pictures of the side that is to be painted, with a generator that has any."""
        if self.paints:
            painter: Any = self.generator.network
            painter.keep(painter.style_of(frames(pictures)))

    def translate(self, images: Tensor, inputs: Inputs, others: Tensor, seeds: _Numbers) -> tuple[Tensor, Losses]:
        """Images as pictures of the other side, and what says how rough and how uneven they are."""
        if getattr(self.generator, "clip_length", 1) == 1:  # frames of a clip, too, are drawn for one by one
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
        """What a generator that paints is given besides, by keyword: the labels that it asks for, of single frames."""
        seen = {kind: inputs[kind] for kind in self.generator.kinds}
        return {"inputs": flattened(seen) if images.dim() == 5 else seen} if seen else {}


def _unlikeness(fakes: Tensor, pictures: Tensor) -> Losses:
    """How far the colours and the spectra of pictures are from those of others, each from its own."""
    fakes, pictures = fakes.float() / 2 + 0.5, pictures.float() / 2 + 0.5
    (mean, root), (wanted_mean, wanted_root) = colour_moments(fakes), colour_moments(pictures)
    apart = (mean - wanted_mean).abs().sum(1) + torch.linalg.matrix_norm(root - wanted_root)
    spectra = radial_spectrum(fakes, _BANDS) - radial_spectrum(pictures, _BANDS)
    return {"moments": apart.mean(), "spectrum": spectra.abs().mean()}


class _Seeds:
    """Numbers for what a generator samples at random, of each process its own."""

    def __init__(self, seed: int) -> None:
        self.random = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> _Numbers:
        """So many."""
        return torch.randint(2**62, (count,), generator=self.random).numpy().astype(np.uint64)

    def rank_state_dict(self) -> dict[str, Any]:
        """The state of the draws."""
        return {"random": self.random.get_state()}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``rank_state_dict`` gave."""
        self.random.set_state(state["random"])
