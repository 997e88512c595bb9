"""Metrics of image sets and of frames: the distance to real images, and whether the content stayed in place."""
