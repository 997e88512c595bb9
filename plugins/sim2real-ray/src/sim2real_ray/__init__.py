"""Conversions of sim2real on a Ray cluster."""
