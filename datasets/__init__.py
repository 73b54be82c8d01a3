"""Builds of prepared data sets. Not installed; run from the repository root."""
