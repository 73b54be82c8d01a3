"""Odd cases: names, folders, links and permissions."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.fakes.fakes_cases import BRATS_2018, volumes, write_nifti_case
from tests.reading.odd_case import Odd, Outcome
from tests.reading.odd_mutators import Mutator, copied, file_of, renamed

READ, WARNED, REFUSED, _ = Outcome


def case_renamed(name: str) -> Mutator:
    """Gives the case and its files another name."""

    def mutate(folder: Path) -> None:
        for suffix in BRATS_2018.values():
            path = folder / "a" / f"a{suffix}.nii.gz"
            path.rename(path.with_name(f"{name}{suffix}.nii.gz"))
        (folder / "a").rename(folder / name)

    return mutate


def in_long_path(folder: Path) -> None:
    deep = folder.joinpath(*["folder " * 30] * 12)
    deep.mkdir(parents=True)
    (folder / "a").rename(deep / "a")


def unreadable(path: Callable[[Path], Path]) -> Mutator:
    return lambda folder: path(folder).chmod(0)


def two_time_points(folder: Path) -> None:
    case_renamed("Brats18_A_1")(folder)
    write_nifti_case(folder, "Brats18_A_2", volumes())


def linked_from_elsewhere(folder: Path) -> None:
    elsewhere = folder.with_name(f"{folder.name} elsewhere")
    elsewhere.mkdir()
    (folder / "a").rename(elsewhere / "a")
    (folder / "a").symlink_to(elsewhere / "a")


def without(role: str) -> Mutator:
    return lambda folder: file_of(folder, role).unlink()


def a_folder_instead(folder: Path) -> None:
    _in_folder(file_of(folder, "t2"))


def folders_instead(folder: Path) -> None:
    for role in BRATS_2018:
        _in_folder(file_of(folder, role))


def _in_folder(path: Path) -> None:
    content_of_file = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / f"00000057_brain{path.name[1:]}").write_bytes(content_of_file)


def as_nnunet(folder: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    for channel, role in enumerate(("t1", "t2", "t1c", "flair")):
        file_of(folder, role).rename(folder / "imagesTr" / f"a_{channel:04d}.nii.gz")
    file_of(folder, "label").rename(folder / "labelsTr" / "a.nii.gz")
    (folder / "a").rmdir()


def copied_case(folder: Path) -> None:
    (folder / "b").mkdir()
    for role, suffix in BRATS_2018.items():
        (folder / "b" / f"b{suffix}.nii.gz").write_bytes(file_of(folder, role).read_bytes())


NAMES = (
    Odd(
        "a modality is missing",
        REFUSED,
        without("t2"),
        "Case a, a_t2.nii.gz: modality t2 is missing (…). Add the file, remove the case, or use what there is with "
        "--allow_incomplete.",
    ),
    Odd(
        "the label is missing",
        REFUSED,
        without("label"),
        "Case a, a_seg.nii.gz: the label is missing (…). Add the file, remove the case, or use what there is with "
        "--allow_incomplete",
    ),
    Odd("capitals in a file name (`_T1CE.NII.GZ`)", READ, renamed("a_T1CE.NII.GZ")),
    Odd(
        "a modality under a name that the release does not have (`_t1gd`)",
        REFUSED,
        renamed("a_t1gd.nii.gz"),
        "Case a, a_t1gd.nii.gz: not used, because no modality or label has this name. Add or rename files that "
        "belong to a case",
    ),
    Odd(
        "one image too many",
        WARNED,
        copied("a_swi.nii.gz"),
        "Case a, a_swi.nii.gz: not used, because no modality or label has this name.",
    ),
    Odd(
        "a second case with nothing but a label",
        WARNED,
        lambda folder: write_nifti_case(folder, "b", {"label": volumes()["label"]}),
        "Case b, b_seg.nii.gz: not used, because this label has no image.",
    ),
    Odd(
        "the case in two folders",
        REFUSED,
        lambda folder: shutil.copytree(folder / "a", folder / "again" / "a"),
        "Case a, …: there are further files for label, t1, t2, t1c, flair in …. Remove one of each, or rename one of "
        "two cases.",
    ),
    Odd(
        "a file packed and unpacked",
        REFUSED,
        lambda folder: (folder / "a" / "a_t2.nii").write_bytes(gzip.decompress(file_of(folder, "t2").read_bytes())),
        "Case a, …: there are further files for t2 in …. Remove one of each",
    ),
    Odd(
        "a case copied under another name",
        WARNED,
        copied_case,
        "Case b, b_t1.nii.gz: it has the same content as an image of case a. Remove one of the two, or give both "
        "the same patient in patients.csv.",
    ),
    Odd("two time points of a patient (they fall in one part of the split)", READ, two_time_points),
    Odd(
        "a list of patients that lacks a case",
        REFUSED,
        lambda folder: (folder / "patients.csv").write_text("case,patient\nb,1\n"),
        "…patients.csv lacks 1 of 1 cases (a). Add a row for each, or remove the file.",
    ),
    Odd("letters of other scripts in names", READ, case_renamed("Fall_ä_症例")),
    Odd("spaces in names", READ, case_renamed("case one")),
    Odd("very long paths", READ, in_long_path),
    Odd(
        "a name in another encoding than UTF-8",
        REFUSED,
        case_renamed(os.fsdecode(b"caf\xe9")),
        "The name of … cannot be printed (written in another encoding than UTF-8, or with control characters).",
    ),
    Odd("hidden files beside the images (`._a_t1.nii.gz`)", READ, copied("._a_t1.nii.gz")),
    Odd(
        "an empty folder",
        WARNED,
        lambda folder: (folder / "b").mkdir(),
        "Case cases, b: 1 folder holds no file. Copy or download what belongs there again, or remove it.",
    ),
    Odd("a case that is a link to a folder elsewhere", READ, linked_from_elsewhere),
    Odd("a second name for the case by a link", READ, lambda folder: (folder / "0").symlink_to(folder / "a")),
    Odd("links that lead round in a circle", READ, lambda folder: (folder / "a" / "up").symlink_to(folder.parent)),
    Odd(
        "a link to nothing",
        REFUSED,
        lambda folder: (without("t2")(folder), file_of(folder, "t2").symlink_to("nowhere.nii.gz")),
        "Case a, a_t2.nii.gz: the file is missing, or a broken link. Restore it or remove the case.",
    ),
    Odd(
        "a folder with the name of an image",
        REFUSED,
        a_folder_instead,
        "Case cases, a_t2.nii.gz: 1 folder has the name of an image (Kaggle's copy of BraTS 2021 is such). Move each "
        "image out of its folder, remove the folder and give the image the folder's name.",
    ),
    Odd(
        "each image in a folder of its name (Kaggle's copy of BraTS 2021)",
        REFUSED,
        folders_instead,
        "No case found in …. Case cases, …: 5 folders have the names of images (Kaggle's copy of BraTS 2021 is such). "
        "Move each image out of its folder",
    ),
    Odd(
        "nnU-Net's raw layout",
        REFUSED,
        as_nnunet,
        "… is in nnU-Net's raw layout (…_0000.nii.gz), which is not read: file names do not say what an image shows. "
        "Rename a_0000 to a_…, a_0001 to a_…, a_0002 to a_…, a_0003 to a_… and so on for all cases, and put labelsTr/a "
        "beside them as a_seg. Read them with --release=custom, and give datasets/build.py --config.data.modalities=",
    ),
    Odd(
        "a file without permission to read it",
        REFUSED,
        unreadable(lambda folder: file_of(folder, "t2")),
        "Case a, a_t2.nii.gz: no permission to read the file. Change its permissions.",
        not_as_root=True,
    ),
    Odd(
        "a folder without permission to read it",
        REFUSED,
        unreadable(lambda folder: folder / "a"),
        "Cannot read the folder … (Permission denied). Change its permissions or move it elsewhere.",
        not_as_root=True,
    ),
)
