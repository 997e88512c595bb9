"""The hooks of this package. Imported at every start of sim2real, so heavy imports do not belong here."""

from sim2real import Register, hookimpl


@hookimpl
def register_discriminators(register: Register) -> None:
    """Offer the discriminator ``multiscale``."""
    register(
        "multiscale",
        "sim2real_multiscale.network:MultiscalePatchGAN",
        summary="70x70 patches at full, half and quarter resolution, spectral norm",
    )
