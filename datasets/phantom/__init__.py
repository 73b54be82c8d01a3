"""Simulated patients in the layout of BraTS 2018, for tests of the pipeline without a download."""

from datasets.phantom.patients import make_patient, write_cases

__all__ = ["make_patient", "write_cases"]
