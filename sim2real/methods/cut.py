"""CUT and FastCUT: one generator that preserves the content of each patch of its input (Park et al. 2020).

"Contrastive Learning for Unpaired Image-to-Image Translation". There is no second generator. Instead, the features of a
patch of the translation, computed by the generator itself, must identify the same patch of the input among others.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.errors import SettingsError
from sim2real.methods.adversarial import AdversarialMethod
from sim2real.methods.base import Batch, Inputs, Losses, MethodSettings, Networks, StepLog, sum_of
from sim2real.methods.discriminator_trainer import DiscriminatorTrainer
from sim2real.networks.blocks import check_counts, initialise
from sim2real.networks.range_adapter import blank_inputs, flattened, mirrored

_TEMPERATURE = 0.07
_SELF = -10.0  # replaces the similarity of a patch to itself among the negatives
_PROBE = 64  # side, in pixels, of an image used to find the number of channels of features


class Heads(nn.Module):
    """Projections of patches, one for each feature map: linear, ReLU, linear, normalised to length 1.

    Args:
        channels: Number of channels of each map.
        width: Width of both linear layers.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(count, width), nn.ReLU(), nn.Linear(width, width)) for count in channels
        )

    def forward(self, maps: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
        """Return vectors (N, places, width) for maps (N, C, h, w) and positions among the h * w of each map."""
        patches = (each.flatten(2)[:, :, place].transpose(1, 2) for each, place in zip(maps, places, strict=True))
        return [functional.normalize(head(patch), dim=2) for head, patch in zip(self.heads, patches, strict=True)]


def patch_nce(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the cross entropy of finding the key of a query among those of other positions in the image; a scalar.

    Args:
        queries: Vectors of length 1 for patches of translations, (N, S, C).
        keys: Vectors for the same patches of the inputs, (N, S, C); no gradient reaches them.
    """
    queries, keys = queries.float(), keys.detach().float()
    likeness = queries @ keys.transpose(1, 2)
    itself = torch.eye(likeness.shape[1], dtype=torch.bool, device=likeness.device)
    positive = likeness.diagonal(dim1=1, dim2=2)[..., None]
    logits = torch.cat([positive, likeness.masked_fill(itself, _SELF)], 2).flatten(0, 1) / _TEMPERATURE
    return functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


class CUT(AdversarialMethod[Batch, Tensor]):
    """Unpaired translation in one direction, from simulated to real images.

    The loss is the adversarial loss plus ``nce`` times the contrastive loss of simulated images; with ``nce_identity``,
    the latter is shared equally between simulated and real images. In each step, the discriminator is updated first.

    Args:
        networks: Factories for the networks; the generator needs a method ``features``, see ``RangeAdapter.features``.
        settings: Losses, learning rates, device.
        nce: Weight of the contrastive loss.
        nce_identity: Whether the contrastive loss includes real images, which should stay as they are.
        flip_equivariance: Whether the images of a step are mirrored with probability 1/2 before the generator.
        patches: Number of positions at which features are compared.
        head_width: Width of the projections of features.
        discriminator_loss_scale: Factor of the discriminator's loss.

    Raises:
        SettingsError: If an option is out of range, or the generator has no ``features``.
    """

    computes: ClassVar[frozenset[str]] = frozenset({"real", "fake_real", "identity_real"})
    discriminators = ("D_real",)
    updates: Mapping[str, Sequence[str]] = {"G": ["G", "heads"], "D": ["D"]}

    def __init__(
        self,
        networks: Networks,
        settings: MethodSettings,
        *,
        nce: float = 1.0,
        nce_identity: bool = True,
        flip_equivariance: bool = False,
        patches: int = 256,
        head_width: int = 256,
        discriminator_loss_scale: float = 0.5,
    ) -> None:
        super().__init__(settings)
        check_counts(**{"method.options.patches": patches, "method.options.head_width": head_width})
        if min(nce, discriminator_loss_scale) < 0:
            raise SettingsError("method.options: nce and discriminator_loss_scale must be numbers of at least 0")
        self.nce, self.nce_identity, self.flips = nce, nce_identity, flip_equivariance
        self.G, self.D_real = networks.generator(), networks.discriminator()
        if not hasattr(self.G.network, "features"):
            name = type(self.G.network).__name__
            raise SettingsError(f"method.name = 'cut' compares features, which the generator {name} does not offer")
        channels = [each.shape[1] for each in self._probe()]
        self.heads = Heads(channels, head_width).to(settings.device)
        initialise(self.heads, "xavier-0.02")
        seed = settings.seed + settings.rank
        self.trainer = DiscriminatorTrainer(self.D_real, settings, scale=discriminator_loss_scale, seed=seed)
        self.trainers = {"D_real": self.trainer}
        self.places = _Places(patches, settings.seed)
        self.translates_real = nce_identity or "identity_real" in settings.needs
        self.sides = {"G_sim2real": ("sim", "real") if self.translates_real else ("sim",)}
        self.generators = {"sim2real": self.G}
        self.networks = {"G_sim2real": self.G, "D_real": self.D_real, "heads": self.heads}
        self.optimization.add("G", self.G, lr=settings.generator_lr)
        self.optimization.add("heads", self.heads, lr=settings.generator_lr)
        self.optimization.add("D", self.D_real, lr=settings.discriminator_lr)

    @torch.no_grad()
    def _probe(self) -> Sequence[Tensor]:
        side = 2 * max(_PROBE // 2, getattr(self.G, "stride", 1))
        device = next(self.G.parameters()).device
        images = torch.zeros(1, 3, side, side, device=device)
        return self.G.features(images, blank_inputs(self.G.kinds, images))

    def step(self, batch: Batch) -> StepLog:
        """Update the generator, the projections and the discriminator once.

        Logged are ``"adversarial_real"``, ``"nce"``, ``"nce_identity"`` and the other terms, ``"D_real"``, and the
        penalties that CycleGAN logs for its discriminators.
        """
        self.places.draw(flips=self.flips)
        return self.finished(self.update(batch.split(self.settings.gradient_accumulation_steps)))

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> StepLog:
        """Return the generator's losses and their sum, ``"generator"``, at the same positions every time."""
        self.places.begin(0)
        terms = self.generator_terms(batch, self.translate(batch), augments=False)
        return StepLog({**terms, "generator": sum_of(terms)})

    def samples(self, generators: Mapping[str, nn.Module], batch: Batch) -> list[Tensor]:
        """Return sim images, their translations, real images and, if the method uses them, translations of these."""
        shown = [batch.sim, generators["sim2real"](batch.sim, batch.sim_inputs), batch.real]
        if self.translates_real:
            shown.append(generators["sim2real"](batch.real, batch.real_inputs))
        return shown

    def translate(self, part: Batch) -> Tensor:
        """Return the translation of simulated images, mirrored if this step mirrors."""
        images = part.sim.flip(-1) if self.places.mirrors else part.sim
        with self.settings.autocast():
            fake: Tensor = self.G(images, self._seen(part.sim_inputs))
        return fake

    def discriminator_losses(self, part: Batch, fakes: Tensor) -> Iterator[tuple[str, Losses]]:
        """Yield the losses of the discriminator."""
        inputs = part.real_inputs, self._seen(part.sim_inputs)
        yield "D_real", self.trainer.discriminator_loss(part.real, fakes, *inputs)

    def generator_terms(self, part: Batch, fakes: Tensor, *, augments: bool) -> Losses:
        """Return the weighted terms of the generator's loss."""
        share = self.nce / (2 if self.nce_identity else 1)
        images = {"fake_real": fakes.flip(-1) if self.places.mirrors else fakes}
        adversarial = self.trainer.generator_loss(fakes, self._seen(part.sim_inputs), augments=augments)
        terms = {"adversarial_real": adversarial, "nce": share * self._nce(part.sim, fakes, part.sim_inputs)}
        if self.translates_real:
            with self.settings.autocast():
                images["identity_real"] = self.G(part.real, part.real_inputs)
        if self.nce_identity:
            same = images["identity_real"]
            terms["nce_identity"] = share * self._nce(part.real, same, part.real_inputs, mirrors=False)
        return {**terms, **self.weighted(part, **images)}

    def _seen(self, inputs: Inputs) -> Inputs:
        """Return labels that match fakes, mirrored if this step mirrors."""
        return mirrored(inputs) if self.places.mirrors else inputs

    def _nce(self, images: Tensor, translated: Tensor, inputs: Inputs, *, mirrors: bool = True) -> Tensor:
        """Return the contrastive loss between images and their translations, as the mean over the feature maps."""
        mirrors = mirrors and self.places.mirrors
        seen = mirrored(inputs) if mirrors else inputs
        if images.dim() == 5:
            images, translated = images.flatten(0, 1), translated.flatten(0, 1)
            inputs, seen = flattened(inputs), flattened(seen)
        with self.settings.autocast():
            with torch.no_grad():
                maps = self.G.features(images, inputs)
            made = self.G.features(translated, seen)
            places = self.places.of(maps)
            keys = self.heads(maps, places)
            queries = self.heads([each.flip(-1) for each in made] if mirrors else made, places)
        return torch.stack([patch_nce(*pair) for pair in zip(queries, keys, strict=True)]).mean()

    def stateful(self) -> "Mapping[str, DiscriminatorTrainer | _Places]":
        """Return the discriminator's trainer and the sampler of positions."""
        return {"trainer": self.trainer, "places": self.places}

    def own(self) -> Mapping[str, DiscriminatorTrainer]:
        """Return the discriminator's trainer, with its pool and its augmentation."""
        return {"trainer": self.trainer}


class _Places:
    """The random choices of a step, equal in all parts and processes: positions of patches and mirroring."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.random = torch.Generator().manual_seed(seed)
        self.begin(0)

    def draw(self, *, flips: bool) -> None:
        """Sample the choices of the next step."""
        self.begin(int(torch.randint(2**62, (), generator=self.random)), flips=flips)

    def begin(self, seed: int, *, flips: bool = False) -> None:
        """Begin a step with the choices of a seed."""
        random = torch.Generator().manual_seed(seed)
        self.mirrors = flips and bool(torch.rand((), generator=random) < 0.5)
        self._of_step = random
        self._places: dict[tuple[int, ...], Tensor] = {}

    def of(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the positions in each of the maps (N, C, h, w), which are sampled once per step."""
        found = []
        for number, each in enumerate(maps):
            key = (number, *each.shape[2:])
            if key not in self._places:
                sampled = torch.randperm(each.shape[2] * each.shape[3], generator=self._of_step)[: self.count]
                self._places[key] = sampled.to(each.device, non_blocking=each.device.type == "cuda")
            found.append(self._places[key])
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the random numbers."""
        return {"random": self.random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self.random.set_state(state["random"])
