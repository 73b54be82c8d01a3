"""The joint segmenter of all modalities (method §8)."""
