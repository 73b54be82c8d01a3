"""Algorithms 1 to 3 of the paper, fusion, warps, blending and filters. No networks here (method §1, §2, §4, §5)."""
