"""The segmentation stage: lesion processors (method §6, §8)."""
