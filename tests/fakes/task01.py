"""Cases in the layout of the Medical Segmentation Decathlon's Task01.

    python -m tests.fakes.task01 BraTS2018/ /tmp/Task01_BrainTumour

writes BraTS cases so. Such a copy is for tests: it stays under the terms of its cases, whatever its dataset.json says.
"""

import json
import sys
from pathlib import Path

import nibabel
import numpy as np

from mmsynth_tf.constants import BRATS_MODALITIES
from mmsynth_tf.reading import decathlon, releases

DESCRIPTION = {
    "name": "BRATS",
    "description": "Gliomas segmentation tumour and oedema in brain images",
    "reference": "https://www.med.upenn.edu/sbia/brats2017.html",
    "licence": "CC-BY-SA 4.0",
    "release": "2.0 04/05/2018",
    "tensorImageSize": "4D",
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
}
_CHANNELS = ("flair", "t1", "t1c", "t2")
# Of BraTS 2017 to 2021: 1 core, 2 oedema, 4 enhancing tumour.
_VALUES = np.array([0, 2, 1, 0, 3], np.uint8)


def write(cases: Path, folder: Path, axes: str = "RAS") -> None:
    """Rewrites cases of BraTS 2017 to 2021 as BRATS_001, BRATS_002, …, with voxel axes in these directions."""
    found = releases.find_cases(cases, BRATS_MODALITIES)
    for part in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / part).mkdir(parents=True)
    names = [f"BRATS_{number:03d}.nii.gz" for number in range(1, 1 + len(found))]
    for name, case in zip(names, found, strict=True):
        images = [nibabel.load(case.images[modality].path) for modality in _CHANNELS]
        affine = images[0].affine
        stack = np.stack([np.asarray(image.dataobj) for image in images], axis=-1)
        label = _VALUES[np.asarray(nibabel.load(case.label.path).dataobj, np.uint8)]
        for part, array in (("imagesTr", stack), ("labelsTr", label)):
            _save(array, affine, axes, folder / part / name)
            (folder / part / f"._{name}").write_bytes(b"archives made on a Mac hold such files")
    _save(stack, affine, axes, folder / "imagesTs" / f"BRATS_{1 + len(found):03d}.nii.gz")
    training = [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names]
    text = json.dumps({**DESCRIPTION, "numTraining": len(names), "training": training})
    (folder / decathlon.DESCRIPTION).write_text(text, encoding="utf-8")


def _save(array: np.ndarray, affine: np.ndarray, axes: str, path: Path) -> None:
    image = nibabel.Nifti1Image(array, affine)
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), nibabel.orientations.axcodes2ornt(axes))
    nibabel.save(image.as_reoriented(turn), path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
