"""Files: what commit 142d6ee gives where tests of today assert the right value; their bodies on the names of then."""

import contextlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import scipy.ndimage
from registry import probe

from mmsynth_tf.configs import DataConfig
from mmsynth_tf.constants import BRATS_MODALITIES
from mmsynth_tf.reading import cases, releases, volumes
from tests import fakes_cases as fakes


def problems(folder: Path, data: DataConfig = fakes.DATA, release: str | None = None) -> str:
    """What is said of all cases in a folder."""
    try:
        found = releases.search_cases(folder, data.modalities, release)
        said = [*found.problems, *(p for files in found.cases for p in cases.inspect_case(files, data)[1])]
    except ValueError as error:
        return f"error: {error}"
    return " ".join(map(str, said)) or "nothing is said"


def stored(path: Path, voxels: np.ndarray, slope: float, inter: float = 0.0) -> None:
    content = bytearray(nibabel.Nifti1Image(voxels.astype(np.int16), fakes.LPS_AFFINE).to_bytes())
    content[112:120] = np.array([slope, inter], np.float32).tobytes()  # scl_slope and scl_inter.
    path.write_bytes(bytes(content))


@probe("A1")
def values_of_scaled_integers(folder: Path) -> str:
    stored(folder / "a.nii", np.arange(24).reshape(2, 3, 4), slope=-3.0, inter=7.0)
    found, right = volumes.read_image(folder / "a.nii").array, nibabel.load(folder / "a.nii").get_fdata()
    return (
        f"0 to 23, slope -3, intercept 7: {found.min():g} to {found.max():g}, right {right.min():g} to {right.max():g}"
    )


@probe("A1")
def label_with_a_slope(folder: Path) -> str:
    arrays = fakes.volumes((2, 4))
    fakes.write_nifti_case(folder, "a", arrays)
    (folder / "a" / "a_seg.nii.gz").unlink()
    stored(folder / "a" / "a_seg.nii", arrays["label"] // 2, slope=2.0)
    case = cases.read_case(releases.find_cases(folder, BRATS_MODALITIES)[0], fakes.DATA)
    return f"label 0, 2, 4 stored with slope 2: classes {np.unique(case.label).tolist()}"


@probe("A1")
def float_label_packed_by_nibabel(folder: Path) -> str:
    fakes.write_nifti_case(folder, "a", fakes.volumes())
    image = nibabel.Nifti1Image(fakes.volumes()["label"].astype(float), fakes.LPS_AFFINE)
    image.set_data_dtype(np.int16)
    nibabel.save(image, folder / "a" / "a_seg.nii.gz")
    return f"float label saved as int16: {problems(folder)}"


@probe("A1")
def image_with_a_negative_slope(folder: Path) -> str:
    arrays = fakes.volumes()
    fakes.write_nifti_case(folder, "a", arrays)
    (folder / "a" / "a_t1.nii.gz").unlink()
    stored(folder / "a" / "a_t1.nii", -arrays["t1"], slope=-1.0)
    case = cases.read_case(releases.find_cases(folder, BRATS_MODALITIES)[0], fakes.DATA)
    correlation = np.corrcoef(case.images["t1"].ravel(), arrays["t1"].ravel())[0, 1]
    return f"T1 stored with slope -1: correlation with the true T1 {correlation:.0f}"


def patients(folder: Path, names: tuple[str, str], ending: str, release: str | None) -> int:
    for name in names:
        (folder / f"{name}{ending}.nii.gz").write_text(name)
    return len({case.patient_id for case in releases.find_cases(folder, BRATS_MODALITIES, release)})


SCANS = [
    (("BraTS-GLI-00005-100", "BraTS-GLI-00005-101"), "_t1", None),
    (("BraTS-GLI-00005-100", "BraTS-GLI-00005-101"), "-t1n", "custom"),
    (("Brats18_X_1", "Brats18_X_2"), "-t1n", "brats2023"),
    (("brats_tcia_pat105_0004", "brats_tcia_pat105_0204"), "_t1", None),
    (("UCSF-PDGM-0391", "UCSF-PDGM-0391_FU016d"), "_t1", None),
    (("UPENN-GBM-00002_11", "UPENN-GBM-00002_21"), "_t1", None),
]


@probe("A2")
def patients_of_two_scans(folder: Path) -> str:
    found = []
    for number, (names, ending, release) in enumerate(SCANS):
        (folder / str(number)).mkdir()
        with contextlib.suppress(ValueError):
            count = patients(folder / str(number), names, ending, release)
            found.append(f"{names[0]} and {names[1]} ({ending}, {release or 'no release forced'}): {count} patients")
    return "; ".join(found)


@probe("A2")
def names_that_differ_by_a_number(folder: Path) -> str:
    for name in ("anna", "anna_2", "otto"):
        (folder / f"{name}_t1.nii.gz").write_text(name)
    found = releases.search_cases(folder, BRATS_MODALITIES).problems
    return f"anna and anna_2: {' '.join(map(str, found)) or 'nothing is said'}"


@probe("A2")
def list_of_patients_in_another_place(folder: Path) -> str:
    (folder / "cases").mkdir()
    for name in ("x", "y"):
        (folder / "cases" / f"{name}_t1.nii.gz").write_text(name)
    (folder / "patients.csv").write_text("case,patient\nx,1\ny,1\n")
    found = releases.search_cases(folder / "cases", BRATS_MODALITIES)
    count = len({case.patient_id for case in found.cases})
    return f"patients.csv one folder above: {count} patients; {' '.join(map(str, found.problems)) or 'nothing is said'}"


@probe("A3")
def label_schemes(folder: Path) -> str:
    said = []
    for case_id, values in (
        ("BraTS-GLI-00005-100", (1, 3, 4)),
        ("BraTS-PED-00001-000", (1, 2, 3)),
        ("BraTS-MET-00001-000", (3, 4)),
    ):
        fakes.write_nifti_case(folder / case_id, case_id, fakes.volumes(values), fakes.BRATS_2023)
        found = releases.find_cases(folder / case_id, BRATS_MODALITIES)[0]
        said.append(f"{case_id} with {values}, as {found.release.name}: {problems(folder / case_id)}")
    return "; ".join(said)


@probe("A3")
def names_of_brats_read_as_custom(folder: Path) -> str:
    fakes.write_nifti_case(folder, "Brats18_X_1", fakes.volumes((1, 2)))
    return f"Brats18_X_1 with --release=custom: {problems(folder, release='custom')}"


@probe("A3")
def values_off_by_rounding(folder: Path) -> str:
    arrays = fakes.volumes()
    off = np.where(arrays["label"] == 4, np.float32(3.9999995), arrays["label"])
    fakes.write_nifti_case(folder, "a", arrays | {"label": off})
    return f"3.9999995 for 4: {problems(folder)}"


@probe("A4")
def voxel_size(folder: Path) -> str:
    affine = fakes.LPS_AFFINE @ np.diag([0.46875, 0.46875, 1, 1])
    fakes.write_nifti_case(folder, "a", fakes.volumes(), affine=affine)
    return f"voxels of 0.47 mm where data.voxel_mm is 1: {problems(folder)}"


def moved(pixels: int) -> dict[str, np.ndarray]:
    padded = {role: np.pad(array, ((0, 8), (0, 0), (0, 0))) for role, array in fakes.volumes().items()}
    return {role: np.roll(array, pixels, axis=0) for role, array in padded.items()}


def cropped(**changes) -> DataConfig:
    own = {"crop_rows": (2, 18), "crop_columns": (2, 14), "image_size": (16, 12)}
    return DataConfig(**{**vars(fakes.DATA), **own, **changes})


@probe("A4")
def crop(folder: Path) -> str:
    said = []
    for pixels, lost in ((4, "30 % of the head"), (5, "a sixth of the lesion"), (7, "60 % of the head")):
        fakes.write_nifti_case(folder / str(pixels), "a", moved(pixels))
        said.append(f"the crop cuts off {lost}: {problems(folder / str(pixels), cropped())}")
    return "; ".join(said)


@probe("A4")
def crop_of_heads_without_background(folder: Path) -> str:
    arrays = {role: with_noise(a) if role != "label" else a for role, a in moved(7).items()}
    fakes.write_nifti_case(folder, "a", arrays)
    return f"the crop cuts off 60 % of the head, and all backgrounds are noise: {problems(folder, cropped())}"


@probe("A4")
def volume_that_ends_within_the_head(folder: Path) -> str:
    fakes.write_nifti_case(folder, "a", {role: np.roll(a[6:], -3, axis=0)[:7] for role, a in moved(0).items()})
    return f"a volume that ends within the head: {problems(folder, cropped(crop_columns=(0, 7), image_size=(16, 8)))}"


@probe("A4")
def pixels_that_are_not_square(folder: Path) -> str:
    fakes.write_nifti_case(folder, "a", fakes.volumes())
    narrow = cropped(crop_rows=(0, 20), crop_columns=(0, 10), image_size=(20, 20))
    return f"pixels of 1 by 0.5 mm: {problems(folder, narrow)}"


def with_noise(voxels: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.integers(1, 8, voxels.shape).astype(voxels.dtype)
    return np.where((voxels == 0) & (rng.random(voxels.shape) < 0.5), noise, voxels)


@probe("A5")
def splines_around_the_head(folder: Path) -> str:
    arrays = fakes.volumes()
    flat = np.pad(arrays["t2"].astype(np.float32), ((24, 24), (24, 24), (0, 0)))
    wide = {role: np.pad(array, ((24, 24), (24, 24), (0, 0))) for role, array in arrays.items()}
    wide["t2"] = scipy.ndimage.shift(flat, (0.5, 0.5, 0), order=3)
    fakes.write_nifti_case(folder, "a", wide)
    data = DataConfig(**{**vars(fakes.DATA), "crop_rows": (0, 68), "crop_columns": (0, 64)})
    case, _ = cases.inspect_case(releases.find_cases(folder, BRATS_MODALITIES)[0], data)
    share, right = (np.mean(case.images[m] != case.ranges[m].background) for m in ("t2", "t1"))
    counted = f"{share:.0%} of it counts as head, right {right:.0%}"
    return f"one image resampled with cubic splines: {counted}; {problems(folder, data)}"


@probe("A5")
def noise_in_the_air(folder: Path) -> str:
    arrays = fakes.volumes()
    fakes.write_nifti_case(folder, "a", arrays | {"t2": with_noise(arrays["t2"])})
    return f"noise in the air of one image: {problems(folder)}"


@probe("A6")
def folder_with_brackets(folder: Path) -> str:
    import tensorflow as tf

    from mmsynth_tf import checkpoints

    run = folder / "a[1]"
    saved = checkpoints.Checkpoints(run, 1, {"value": tf.Variable(3.0)}, num_terms=1)
    saved.save(1)
    try:
        return f"checkpoint written to a[1] and restored: step {saved.restore()}"
    except ValueError as error:
        return f"checkpoint written to a[1] and restored: error: {str(error).replace(str(folder), '…')}"


@probe("A6")
def home_folder(folder: Path) -> str:
    text = (
        "from absl import flags; import train; flags.FLAGS(['t', '--stage=structure', '--data_dir=a', '--workdir=~/b'])"
    )
    text += "; print(flags.FLAGS.workdir)"
    return "--workdir=~/b: " + run_python(text)


def run_python(text: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), **variables}
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, env=environment, check=False)
    return (result.stdout if result.returncode == 0 else f"error: {result.stderr}").strip().splitlines()[-1]


@probe("A6")
def link_to_a_file(folder: Path) -> str:
    from mmsynth_tf.patients import files

    (folder / "jane_doe_t1.nii.gz").touch()
    (folder / "anonymous_t1.nii.gz").symlink_to("jane_doe_t1.nii.gz")
    [case] = files.find(folder / "anonymous_t1.nii.gz", BRATS_MODALITIES, "t1")
    return f"anonymous_t1.nii.gz, a link to jane_doe_t1.nii.gz: the case is called {case.case_id}"


@probe("A6")
def capitals_of_a_file(folder: Path) -> str:
    from mmsynth_tf.patients import files

    (folder / "Scan_T1.NII.GZ").touch()
    try:
        return files.find(folder / "Scan_T1.NII.GZ", BRATS_MODALITIES, "t1")[0].case_id
    except ValueError as error:
        return f"Scan_T1.NII.GZ: error: {str(error).replace(str(folder), '…')}"


@probe("A6")
def permissions_of_a_data_set(folder: Path) -> str:
    from mmsynth_tf import records

    before = os.umask(0o002)
    try:
        with records.new_folder(folder / "a", "marker") as made:
            records.write_text(made / "marker", "text")
    finally:
        os.umask(before)
    return f"umask 002: folder {stat.S_IMODE((folder / 'a').stat().st_mode):o}, right 775"


NETWORK = """
from mmsynth_tf import commands
def main(argv):
    import tensorflow as tf
    from mmsynth_tf.models import layers
    x = tf.keras.Input((8, 8, 3))
    y = layers.InstanceNormalization()(tf.keras.layers.Conv2D(5, 3, padding="same")(x))
    print(tf.keras.Model(x, y).output_shape[1:])
commands.run(main)
"""


@probe("A7")
def settings_of_other_projects(folder: Path) -> str:
    said = []
    for number, content in enumerate(({"image_data_format": "channels_first"}, {"floatx": "float16"})):
        (folder / str(number)).mkdir()
        (folder / str(number) / "keras.json").write_text(json.dumps(content))
        said.append(f"keras.json {content}: {run_python(NETWORK, KERAS_HOME=str(folder / str(number)))}")
    for name, value in (("KERAS_BACKEND", "torch"), ("TF_USE_LEGACY_KERAS", "1")):
        said.append(f"{name}={value}: {run_python(NETWORK, **{name: value})}")
    return "; ".join(said) + " (right: (8, 8, 5))"


@probe("A8")
def layouts(folder: Path) -> str:
    kaggle, raw = folder / "kaggle", folder / "raw"
    for number, case_id in enumerate(("a", "b")):
        for role, suffix in fakes.BRATS_2018.items():
            inner = kaggle / case_id / f"{case_id}{suffix}.nii.gz"
            inner.mkdir(parents=True)
            (inner / f"0000005{number}_brain_{role}.nii.gz").touch()
    for path in ("imagesTr/x_0000.nii.gz", "imagesTr/x_0001.nii.gz", "labelsTr/x.nii.gz"):
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).touch()
    bids = folder / "bids" / "sub-01"
    bids.mkdir(parents=True)
    (folder / "bids" / "sub-02").mkdir()
    (bids / "sub-01_ce-GAD_T1w.nii.gz").touch()
    said = []
    for name, modalities in (("kaggle", BRATS_MODALITIES), ("raw", BRATS_MODALITIES), ("bids", ("T1w",))):
        try:
            found = releases.search_cases(folder / name, modalities)
            read = {f.case_id: [v.path.name for v in f.images.values()] for f in found.cases}
            said.append(f"{name}: taken as {read}, {len(found.problems)} messages")
        except ValueError as error:
            said.append(f"{name}: error: {str(error).replace(str(folder), '…')}")
    return "; ".join(said)
