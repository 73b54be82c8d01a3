"""Reads patient files: finds cases of any release, checks volumes, cuts slices."""
