"""Tiny cases in the layouts of the releases."""

from mmsynth_tf.configs import DataConfig
from tools.proofs.made_up_cases import BRATS_2018, LPS_AFFINE, SHAPE, volumes, write_nifti_case

__all__ = ["BRATS_2018", "BRATS_2023", "DATA", "LPS_AFFINE", "SHAPE", "volumes", "write_nifti_case"]

BRATS_2023 = {"t1": "-t1n", "t2": "-t2w", "t1c": "-t1c", "flair": "-t2f", "label": "-seg"}
DATA = DataConfig(
    slices=(1, 5, 1),
    crop_rows=(0, 20),
    crop_columns=(0, 16),
    image_size=(20, 16),
    test_fraction=0.5,
)
