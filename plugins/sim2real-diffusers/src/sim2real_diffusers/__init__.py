"""Pipelines of diffusers as generators of sim2real."""
