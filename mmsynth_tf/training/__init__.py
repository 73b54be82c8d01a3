"""Trains any stage: runs, loop, checkpoints, devices. Knows no stage by name."""
