"""The synthesis stage: all modalities from a map and a label (method §6)."""
