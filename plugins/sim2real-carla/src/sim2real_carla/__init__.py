"""CARLA recordings of carla_garage as a dataset of sim2real."""
