"""What mixtures of real and synthetic slices are worth for segmentation (method §8)."""
