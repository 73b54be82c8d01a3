"""Whether synthetic slices copy training slices."""
