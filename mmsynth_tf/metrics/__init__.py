"""Metrics and distances, on arrays."""
