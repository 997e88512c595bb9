"""Engines run trained generators during conversion; torch is built in, others are plugins."""
