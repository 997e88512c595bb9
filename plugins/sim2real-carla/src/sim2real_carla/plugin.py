"""What this package offers. Imported at every start of sim2real, so nothing heavy here."""

from sim2real import Register, hookimpl


@hookimpl
def register_datasets(register: Register) -> None:
    """Offer the layout ``carla-garage``."""
    register(
        "carla-garage",
        "sim2real_carla.layout:CarlaGarage",
        summary="carla_garage (TransFuser): <route>/{rgb,semantics,depth,boxes,measurements}/0000.*",
    )
