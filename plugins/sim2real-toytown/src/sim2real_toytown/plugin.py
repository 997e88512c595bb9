"""The hooks of this package. Imported at every start of sim2real, so heavy imports do not belong here."""

from sim2real import Register, hookimpl


@hookimpl
def register_commands(register: Register) -> None:
    """Offer ``sim2real toytown``."""
    register("toytown", "sim2real_toytown.command:command", summary="render a small labelled dataset")
