"""Pipelines with random weights in the format of the hub, made without any network."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("diffusers", reason="diffusers is not installed")

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

_WORDS = ["a", "photo", "street", "rendering"]
_CHANNELS = (4, 8)
_XL: dict[str, Any] = {
    "cross_attention_dim": 16,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 8 + 6 * 4,
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of pipelines and ControlNets by name."""
    root = tmp_path_factory.mktemp("models")
    makers = (stable_diffusion, stable_diffusion_xl, flux2_klein)
    pipelines = {make.__name__: make(root / make.__name__) for make in makers}
    kinds = enumerate(("depth", "segmentation", "edges"))
    networks = {kind: controlnet(root / kind, seed) for seed, kind in kinds}
    return {**pipelines, **networks, "depth of XL": controlnet(root / "xl", **_XL)}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may connect to anywhere."""

    def refuse(*_: object) -> None:
        raise AssertionError("something wants to connect to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def clip_tokenizer(folder: Path) -> transformers.CLIPTokenizer:
    """A tokenizer of single letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=16
    )


def text_encoder(*, projects: bool = False) -> transformers.PreTrainedModel:
    config = transformers.CLIPTextConfig(
        vocab_size=64,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (transformers.CLIPTextModelWithProjection if projects else transformers.CLIPTextModel)(config)


def autoencoder() -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        norm_num_groups=2,
    )


def unet(**more: Any) -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(
        block_out_channels=_CHANNELS,
        layers_per_block=1,
        sample_size=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=more.pop("cross_attention_dim", 8),
        attention_head_dim=2,
        norm_num_groups=2,
        **more,
    )


def scheduler() -> diffusers.DDIMScheduler:
    return diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )


def _seeded() -> None:
    torch.manual_seed(0)


def stable_diffusion(folder: Path) -> Path:
    """A pipeline like Stable Diffusion 1.5."""
    _seeded()
    pipeline = diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(),
        tokenizer=clip_tokenizer(folder / "made"),
        unet=unet(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return _saved(pipeline, folder)


def stable_diffusion_xl(folder: Path) -> Path:
    """A pipeline like SDXL."""
    _seeded()
    pipeline = diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(),
        text_encoder_2=text_encoder(projects=True),
        tokenizer=clip_tokenizer(folder / "made"),
        tokenizer_2=clip_tokenizer(folder / "made2"),
        unet=unet(**_XL),
        scheduler=scheduler(),
        add_watermarker=False,
    )
    return _saved(pipeline, folder)


def controlnet(folder: Path, seed: int = 1, **more: Any) -> Path:
    """A ControlNet for :func:`stable_diffusion` whose outputs are not zero, as they are before training."""
    torch.manual_seed(seed)
    network = diffusers.ControlNetModel(
        block_out_channels=_CHANNELS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        cross_attention_dim=more.pop("cross_attention_dim", 8),
        attention_head_dim=2,
        norm_num_groups=2,
        conditioning_embedding_out_channels=(4, 8),
        **more,
    )
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.ndim > 1 and ("controlnet_" in name):
                weight.normal_(std=0.5)
    network.save_pretrained(folder)
    return folder


def flux2_klein(folder: Path) -> Path:
    """A pipeline like FLUX.2 klein, which edits images as told."""
    _seeded()
    tokens = ["<pad>", "<end>", *_WORDS]
    own = Tokenizer(models.WordLevel({token: place for place, token in enumerate(tokens)}, unk_token="<end>"))
    own.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.Qwen2TokenizerFast(tokenizer_object=own, pad_token="<pad>", eos_token="<end>")
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    reader = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=160,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=28,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
            max_position_embeddings=512,
        )
    )
    pipeline = diffusers.Flux2KleinPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKLFlux2(
            block_out_channels=(4, 8),
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
            latent_channels=4,
            norm_num_groups=2,
            layers_per_block=1,
        ),
        text_encoder=reader,
        tokenizer=tokenizer,
        transformer=diffusers.Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=24,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=False,
        ),
        is_distilled=True,
    )
    return _saved(pipeline, folder)


def _saved(pipeline: diffusers.DiffusionPipeline, folder: Path) -> Path:
    pipeline.save_pretrained(folder / "pipeline", safe_serialization=True)
    return folder / "pipeline"
