"""Segmenters trained on mixtures of real and synthetic slices (method §8)."""
