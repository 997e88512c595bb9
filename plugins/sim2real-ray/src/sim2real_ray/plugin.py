"""The hooks of this package. Imported at every start of sim2real, so heavy imports do not belong here."""

from sim2real import Register, hookimpl


@hookimpl
def register_commands(register: Register) -> None:
    """Offer ``sim2real ray-convert``."""
    register("ray-convert", "sim2real_ray.command:command", summary="Convert a dataset on a Ray cluster.")
