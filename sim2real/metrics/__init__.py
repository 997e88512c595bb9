"""Measures of image sets: how near to real pictures, and whether what they show has stayed in its place."""
