"""Reads patient files: finds cases of any release, checks volumes, extracts slices."""
