"""Simulates patients and writes them as NIfTI files in the layout of BraTS 2018."""

from pathlib import Path

import nibabel
import numpy as np
from tqdm import tqdm

from datasets.phantom import anatomy, appearance, tumour
from mmsynth_tf.errors import UserError
from mmsynth_tf.parallel import map_in_order


def write_cases(folder: Path, num_cases: int, seed: int = 0, spacing: float = 1.0) -> None:
    """Writes `<case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz` for `num_cases` patients.

    Args:
      folder: output folder; created if needed, must be empty.
      num_cases: number of patients.
      seed: a patient depends only on this seed and the patient's number.
      spacing: voxel size, mm; 1 gives the 240x240x155 voxels of BraTS.

    Raises:
      UserError: the folder is not empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UserError(f"{folder} is not empty. Choose another folder for the cases.")
    anatomy.atlas()  # Loaded before the threads start; otherwise each thread would load it.
    written = map_in_order(lambda index: _write_case(folder, index, seed, spacing), range(num_cases))
    for _ in tqdm(written, "Making patients", num_cases, unit="case"):
        pass


def make_patient(seed: int, index: int, spacing: float = 1.0) -> dict[str, np.ndarray]:
    """Simulates one patient's volumes.

    Returns:
      {"t1", "t1ce", "t2", "flair": int16, 0 outside the brain; "seg": uint8, labels of BraTS 2018}, all
      [x, y, z] in LPS order, 240x240x155 mm.
    """
    rng = np.random.default_rng([seed, index])
    glioma = tumour.draw_glioma(rng)
    tissues = anatomy.deformed_tissues(rng, spacing, glioma.mass_effect)
    label = tumour.grow(rng, glioma, tissues, spacing)
    fractions = appearance.tissue_fractions(rng, tissues, label, glioma.rim == 0, spacing)
    volumes = {m: appearance.render(rng, m, fractions, tissues.inside, spacing) for m in appearance.MODALITIES}
    return {name: _in_full(volume, tissues.box, spacing) for name, volume in (volumes | {"seg": label}).items()}


def _in_full(volume: np.ndarray, box: tuple[slice, slice, slice], spacing: float) -> np.ndarray:
    full = np.zeros(anatomy.grid_shape(spacing), volume.dtype, order="F")
    full[box] = volume
    return full


def _write_case(folder: Path, index: int, seed: int, spacing: float) -> None:
    case_id = f"phantom_{index:04d}"
    (folder / case_id).mkdir()
    for name, volume in make_patient(seed, index, spacing).items():
        affine = np.diag([-spacing, -spacing, spacing, 1.0])
        affine[1, 3] = spacing * (volume.shape[1] - 1)  # The origin of BraTS files.
        nibabel.save(nibabel.Nifti1Image(volume, affine), folder / case_id / f"{case_id}_{name}.nii.gz")
