"""The hooks of this package. Imported at every start of sim2real, so heavy imports do not belong here."""

from sim2real import Register, hookimpl


@hookimpl
def register_generators(register: Register) -> None:
    """Register the generator ``diffusers``."""
    register(
        "diffusers",
        "sim2real_diffusers.generator:DiffusersGenerator",
        summary="a pipeline of diffusers, conditioned on labels by ControlNets",
    )


@hookimpl
def register_recipes(register: Register) -> None:
    """Register the recipes ``diffusers`` and ``diffusers-edit``."""
    register(
        "diffusers",
        "sim2real_diffusers:diffusers.toml",
        summary="A diffusion model's light and colours, by image-to-image, untrained",
    )
    register(
        "diffusers-edit",
        "sim2real_diffusers:diffusers-edit.toml",
        summary="A diffusion model's light and colours, by an editing model, untrained",
    )
