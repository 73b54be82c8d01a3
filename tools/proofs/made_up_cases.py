"""Tiny cases as NIfTI, which proofs, benchmarks and tests read."""

from pathlib import Path

import nibabel
import numpy as np

SHAPE = (16, 20, 6)
# Voxel axes to the left, the back and the head, as in BraTS.
LPS_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 19], [0, 0, 1, 0], [0, 0, 0, 1]])
BRATS_2018 = {"t1": "_t1", "t2": "_t2", "t1c": "_t1ce", "flair": "_flair", "label": "_seg"}


def volumes(values: tuple[int, ...] = (1, 2, 4)) -> dict[str, np.ndarray]:
    """Four modalities, int16, with a head in the middle, and a label with the given values, uint8; [x, y, z]."""
    head = np.zeros(SHAPE, bool)
    head[3:13, 4:17] = True
    x, y, z = np.indices(SHAPE)
    images = {
        name: np.where(head, 10 + x + (scale + 2) * y + 3 * z, 0).astype(np.int16)
        for scale, name in enumerate(("t1", "t2", "t1c", "flair"))
    }
    label = np.zeros(SHAPE, np.uint8)
    for offset, value in enumerate(values):
        label[4 + 2 * offset : 6 + 2 * offset, 6:10, 2:4] = value
    return images | {"label": label}


def write_nifti_case(
    folder: Path,
    case_id: str,
    arrays: dict[str, np.ndarray],
    suffixes: dict[str, str] = BRATS_2018,
    affine: np.ndarray = LPS_AFFINE,
) -> Path:
    """Writes `<folder>/<case>/<case><suffix>.nii.gz` for each array; returns the case's folder."""
    (folder / case_id).mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / case_id / f"{case_id}{suffixes[name]}.nii.gz")
    return folder / case_id
