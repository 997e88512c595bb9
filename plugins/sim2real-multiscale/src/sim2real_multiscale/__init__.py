"""A multi-scale PatchGAN with spectral normalisation for sim2real."""
