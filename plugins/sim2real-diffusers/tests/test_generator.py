"""The generator on tiny pipelines with random weights."""

import copy
import json
import shutil
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sim2real_diffusers import pipelines
from sim2real_diffusers.generator import DiffusersGenerator
from tiny import folders, no_network

__all__ = ["folders", "no_network"]  # fixtures
from torch import Tensor

from sim2real import SettingsError
from sim2real.capabilities import capabilities
from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.errors import OutOfMemoryError
from sim2real.testing import check_generator

Folders = dict[str, Path]
_PIPELINES = {
    "stable_diffusion": "StableDiffusionImg2ImgPipeline",
    "stable_diffusion_xl": "StableDiffusionXLImg2ImgPipeline",
    "flux2_klein": "Flux2KleinPipeline",
}


def build(folders: Folders, name: str = "stable_diffusion", **options: object) -> DiffusersGenerator:
    return DiffusersGenerator(model=str(folders[name]), **{"prompt": "a street", "steps": 2, **options})  # type: ignore[arg-type]


def images(count: int = 1, height: int = 48, width: int = 80, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def seeds(*numbers: int) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.array(numbers, np.uint64)


@pytest.mark.parametrize("name", _PIPELINES)
def test_each_family_keeps_the_contract(folders: Folders, name: str) -> None:
    check_generator(DiffusersGenerator, model=str(folders[name]), prompt="a street", steps=2)
    assert build(folders, name).provenance["pipeline"] == _PIPELINES[name]


@pytest.mark.parametrize("name", _PIPELINES)
@pytest.mark.parametrize(("height", "width"), [(1, 1), (37, 50), (65, 64)])
def test_images_of_any_size_keep_it(folders: Folders, name: str, height: int, width: int) -> None:
    made = build(folders, name)(images(1, height, width), seeds=seeds(1))
    assert made.shape == (1, 3, height, width)
    assert made.isfinite().all()
    assert made.min() >= -1
    assert made.max() <= 1


def test_an_image_follows_from_its_seed_alone(folders: Folders) -> None:
    generator, some = build(folders), images(3)
    together = generator(some, seeds=seeds(1, 2, 2))
    for place, seed in enumerate((1, 2, 2)):
        alone = generator(some[place : place + 1], seeds=seeds(seed))
        assert (alone[0] - together[place]).abs().max() < 1e-3
    assert (generator(some[:1], seeds=seeds(2)) - together[:1]).abs().max() > 1e-2


def test_frames_of_a_sequence_begin_with_the_same_noise(folders: Folders) -> None:
    generator, image = build(folders), images()
    first, second, other = (
        generator(image, seeds=seeds(seed)) for seed in ((7 << 32) + 1, (7 << 32) + 2, (8 << 32) + 1)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_more_strength_the_farther_from_the_frame(folders: Folders) -> None:
    image = images()
    weak, strong = (build(folders, strength=share, steps=20)(image, seeds=seeds(1)) for share in (0.05, 1.0))
    assert not torch.equal(weak, strong)


@pytest.mark.parametrize("kind", ["depth", "segmentation", "edges"])
def test_a_controlnet_sees_its_label(folders: Folders, kind: str) -> None:
    plain = build(folders)
    controlled = build(folders, controlnets={kind: str(folders[kind])})
    controlled.name_classes(("road", "sky"))
    assert controlled.inputs == (() if kind == "edges" else (kind,))
    image = images()
    labels = {
        "depth": (torch.linspace(1, 80, 80).expand(1, 1, 48, 80), torch.linspace(80, 1, 80).expand(1, 1, 48, 80)),
        "segmentation": (torch.zeros(1, 48, 80, dtype=torch.int64), torch.ones(1, 48, 80, dtype=torch.int64)),
    }
    if kind == "edges":
        made = controlled(image, seeds=seeds(1))
        assert (made - plain(image, seeds=seeds(1))).abs().max() > 1e-3
        return
    one, other = (controlled(image, seeds=seeds(1), inputs={kind: label}) for label in labels[kind])
    assert (one - other).abs().max() > 1e-3
    faint = build(folders, controlnets={kind: str(folders[kind])}, scales={kind: 0.0})
    faint.name_classes(("road", "sky"))
    assert torch.allclose(
        faint(image, seeds=seeds(1), inputs={kind: labels[kind][0]}), plain(image, seeds=seeds(1)), atol=1e-4
    )


def test_a_controlnet_of_sdxl_sees_depth(folders: Folders) -> None:
    generator = build(folders, "stable_diffusion_xl", controlnets={"depth": str(folders["depth of XL"])})
    assert generator.provenance["pipeline"] == "StableDiffusionXLControlNetImg2ImgPipeline"
    near, far = (torch.linspace(*ends, 80).expand(1, 1, 48, 80) for ends in ((1, 80), (80, 1)))
    one, other = (generator(images(), seeds=seeds(1), inputs={"depth": depth}) for depth in (near, far))
    assert (one - other).abs().max() > 1e-3


def test_several_controlnets_work_together(folders: Folders) -> None:
    networks = {kind: str(folders[kind]) for kind in ("depth", "segmentation", "edges")}
    generator = build(folders, controlnets=networks, scales={"edges": 0.5})
    generator.name_classes(("road", "sky"))
    assert generator.inputs == ("depth", "segmentation")
    labels = {"depth": torch.rand(2, 1, 48, 80) + 1, "segmentation": torch.zeros(2, 48, 80, dtype=torch.int64)}
    together = generator(images(2), seeds=seeds(1, 2), inputs=labels)
    alone = generator(images(2)[1:], seeds=seeds(2), inputs={kind: label[1:] for kind, label in labels.items()})
    assert (together[1] - alone[0]).abs().max() < 1e-3


def test_the_precision_is_that_of_autocast(folders: Folders) -> None:
    generator, image = build(folders), images()
    exact = generator(image, seeds=seeds(1))
    with torch.autocast("cpu", torch.bfloat16):
        reduced = generator(image, seeds=seeds(1))
    assert reduced.dtype == torch.float32
    assert 0 < (reduced - exact).abs().max() < 1


def test_slices_change_nothing_but_rounding(folders: Folders) -> None:
    image = images()
    whole, sliced = (build(folders, slicing=slicing)(image, seeds=seeds(1)) for slicing in (False, True))
    assert (whole - sliced).abs().max() < 1e-3


def test_a_lack_of_memory_is_told_as_such(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = build(folders)._source.kind  # noqa: SLF001  diffusers' own class
    plain = kind.__call__

    @wraps(plain)
    def limited(self: Any, *args: Any, **more: Any) -> Any:
        if len(more["image"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(self, *args, **more)

    monkeypatch.setattr(kind, "__call__", limited)
    engine = TorchEngine(build(folders), EngineSettings(device="cpu", precision="fp32"))
    frames = np.zeros((2, 48, 80, 3), np.uint8)
    with pytest.raises(OutOfMemoryError, match="use a smaller --batch-size"):
        engine(frames, seeds=seeds(1, 2))
    assert engine(frames[:1], seeds=seeds(1)).shape == (1, 48, 80, 3)


def test_its_file_has_no_weights_and_copies_work(folders: Folders) -> None:
    generator = build(folders)
    assert generator.state_dict() == {}
    first = generator(images(), seeds=seeds(1))
    assert torch.equal(copy.deepcopy(generator)(images(), seeds=seeds(1)), first)


def test_what_its_images_depend_on_is_told(folders: Folders, tmp_path: Path) -> None:
    can = capabilities(build(folders, controlnets={"depth": str(folders["depth"])}))
    assert set(can.provenance) == {"pipeline", "model", "ControlNet depth", "seeds", "diffusers", "transformers"}
    assert can.provenance["model"].startswith("pipeline (")
    assert (can.stochastic, can.steady, can.exportable, can.whole, can.any_precision) == (True, True, False, True, True)
    other = tmp_path / "other"
    shutil.copytree(folders["stable_diffusion"], other)
    same = pipelines.digest_of(other)
    assert same == pipelines.digest_of(folders["stable_diffusion"])
    weights = bytearray((other / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(weights)
    assert pipelines.digest_of(other) != same


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.0}, "strength = 0.0 must be above 0"),
        ({"strength": 1.5}, "strength = 1.5 must be above 0"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": 3, "strength": 0.2}, "no step is left with strength = 0.2"),
        ({"steps": 1}, "no step is left with strength = 0.5"),
        ({"controlnets": {"normals": "x"}}, "no control is called 'normals'; known: depth, distance"),
        ({"scales": {"depth": 1.0}}, "'depth' has no ControlNet"),
        ({"controlnets": {"depth": "nowhere"}}, r"controlnets\.depth = 'nowhere': there is no such folder"),
    ],
)
def test_options_that_make_no_sense_are_refused(folders: Folders, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build(folders, **options)


def test_an_editing_pipeline_refuses_what_it_does_not_take(folders: Folders) -> None:
    with pytest.raises(
        SettingsError,
        match=r"strength: the pipeline Flux2KleinPipeline takes none: leave it out, or use the recipe diff",
    ):
        build(folders, "flux2_klein", strength=0.5)
    with pytest.raises(
        SettingsError, match=r"negative_prompt: the pipeline Flux2KleinPipeline takes none: leave it out"
    ):
        build(folders, "flux2_klein", negative_prompt="a rendering")
    with pytest.raises(SettingsError, match="has no image-to-image pipeline with ControlNets for 'Flux2KleinPipeline'"):
        build(folders, "flux2_klein", controlnets={"depth": str(folders["depth"])})


def test_a_name_that_is_not_in_the_cache_is_refused_with_what_to_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        SettingsError, match=r"not in the cache of the hub; .*: hf download some/model --local-dir FOLDER"
    ):
        DiffusersGenerator(model="some/model", prompt="a street")


def test_a_name_that_is_in_the_cache_is_found(
    folders: Folders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = tmp_path / "models--some--model"
    shutil.copytree(folders["stable_diffusion"], kept / "snapshots" / "0123456789abcdef")
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("0123456789abcdef")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    generator = DiffusersGenerator(model="some/model", prompt="a street", steps=2)
    assert generator(images(), seeds=seeds(1)).isfinite().all()


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path: Path, folders: Folders) -> None:
    with pytest.raises(SettingsError, match=r"has no model_index\.json, so it is not the folder of a pipeline"):
        DiffusersGenerator(model=str(tmp_path), prompt="")
    with pytest.raises(SettingsError, match=r"has no model_index\.json"):
        DiffusersGenerator(model=str(folders["depth"]), prompt="")
    with pytest.raises(
        SettingsError, match=r"controlnets\.depth: .* has no config\.json, so it is not the folder of a Con"
    ):
        build(folders, controlnets={"depth": str(folders["stable_diffusion"])})
    with pytest.raises(SettingsError, match="holds 'AutoencoderKL', which is not a ControlNet"):
        build(folders, controlnets={"depth": str(folders["stable_diffusion"] / "vae")})
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(SettingsError, match=r"model_index\.json: cannot be read"):
        DiffusersGenerator(model=str(tmp_path), prompt="")
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "TextToAudioPipeline"}))
    with pytest.raises(SettingsError, match="no pipeline that takes images for 'TextToAudioPipeline'"):
        DiffusersGenerator(model=str(tmp_path), prompt="")


def test_weights_that_could_run_code_are_not_read(tmp_path: Path, folders: Folders) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["stable_diffusion"], folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(SettingsError, match=r"unet: has no \.safetensors file"):
        DiffusersGenerator(model=str(folder), prompt="")


def test_damaged_weights_are_one_line(tmp_path: Path, folders: Folders) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["stable_diffusion"], folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for damage in (b"nonsense", whole[:-1], b""):
        weights.write_bytes(damage)
        with pytest.raises(
            SettingsError, match=r"vae/diffusion_pytorch_model\.safetensors: is damaged .*; download it again"
        ):
            DiffusersGenerator(model=str(folder), prompt="", steps=2)
    weights.write_bytes(whole)
    (weights.parent / f"{weights.name}.index.json").write_text(json.dumps({"weight_map": {"a": "part-2.safetensors"}}))
    with pytest.raises(SettingsError, match=r"vae/part-2\.safetensors: is missing"):
        DiffusersGenerator(model=str(folder), prompt="", steps=2)


def test_parts_that_do_not_fit_together_are_one_line(tmp_path: Path, folders: Folders) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["stable_diffusion"], folder)
    (folder / "vae" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", "latent_channels": 8}))
    generator = DiffusersGenerator(model=str(folder), prompt="", steps=2)
    with pytest.raises(SettingsError, match="diffusers cannot load this pipeline") as told:
        generator(images(), seeds=seeds(1))
    assert "\n" not in str(told.value)


def test_the_licence_in_a_model_card_is_told(tmp_path: Path, folders: Folders) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["stable_diffusion"], folder)
    card = "---\nlicense: other\nlicense_name: 'some-terms'\ntags: [a]\n---\n# A model\nlicense: none\n"
    (folder / "README.md").write_text(card)
    assert DiffusersGenerator(model=str(folder), prompt="").provenance["licence"] == "some-terms"
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n")
    assert DiffusersGenerator(model=str(folder), prompt="").provenance["licence"] == "openrail++"
    (folder / "README.md").write_text("# A model\n\nlicense: none\n")
    assert "licence" not in DiffusersGenerator(model=str(folder), prompt="").provenance


def test_weights_of_half_precision_alone_are_found(tmp_path: Path, folders: Folders) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["stable_diffusion"], folder)
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        (folder / f"{part}.safetensors").rename(folder / f"{part}.fp16.safetensors")
    assert DiffusersGenerator(model=str(folder), prompt="", steps=2)(images(), seeds=seeds(1)).isfinite().all()


def test_weights_of_half_precision_are_not_read_beside_whole_ones(tmp_path: Path, folders: Folders) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["stable_diffusion"], folder)
    before = DiffusersGenerator(model=str(folder), prompt="", steps=2)(images(), seeds=seeds(1))
    whole = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    other = {name: torch.zeros_like(weight).half() for name, weight in whole.items()}
    save_file(other, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors", metadata={"format": "pt"})
    after = DiffusersGenerator(model=str(folder), prompt="", steps=2)(images(), seeds=seeds(1))
    assert torch.equal(before, after)
