"""Trains any stage: runs, loop, checkpoints, devices. Only `memory` and `planning` know stages by name."""
