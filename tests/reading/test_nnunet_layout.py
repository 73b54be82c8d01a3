"""nnU-Net's raw layout is refused, and what the message advises leads to the right cases and settings."""

import json
import re

import numpy as np
import pytest

from mmsynth_tf.constants import BRATS_LABELS, BRATS_MODALITIES
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import nnunet
from mmsynth_tf.reading.cases import inspect_case, read_case
from mmsynth_tf.reading.releases import find_cases
from tests.fakes.fakes_cases import DATA, volumes, write_nifti_case
from tests.reading.odd_names import as_nnunet
from tests.reading.test_layouts import touch


def message(folder, description) -> str:
    """The refusal of a folder with a case of two channels."""
    touch(folder, "imagesTr/x_0000.nii.gz", "imagesTr/x_0001.nii.gz")
    (folder / "dataset.json").write_text(description if isinstance(description, str) else json.dumps(description))
    with pytest.raises(UserError) as caught:
        find_cases(folder, ("ct",))
    return str(caught.value)


@pytest.mark.parametrize("release", [None, "custom", "decathlon"])
def test_nnunet_is_named_with_its_channels_and_renaming_as_advised_helps(tmp_path, release):
    write_nifti_case(tmp_path, "a", volumes((1, 2, 3)))
    as_nnunet(tmp_path)
    nnunet.write_description(tmp_path, BRATS_MODALITIES, BRATS_LABELS, 1)
    renames = ", ".join(f"a_{n:04d} to a_{name}" for n, name in enumerate(BRATS_MODALITIES))
    with pytest.raises(UserError, match=f"nnU-Net's raw layout .* Rename {renames} and so on.*labelsTr/a .* as a_seg"):
        find_cases(tmp_path, BRATS_MODALITIES, release)
    for channel, name in enumerate(BRATS_MODALITIES):
        (tmp_path / "imagesTr" / f"a_{channel:04d}.nii.gz").rename(tmp_path / "imagesTr" / f"a_{name}.nii.gz")
    (tmp_path / "labelsTr" / "a.nii.gz").rename(tmp_path / "imagesTr" / "a_seg.nii.gz")
    (tmp_path / "labelsTr").rmdir()
    [case] = find_cases(tmp_path, BRATS_MODALITIES, "custom")
    assert inspect_case(case, DATA)[1] == []
    case = read_case(case, DATA)
    # The channels of the fakes are in the order of the data's modalities, and classes are as they are.
    for name, array in volumes((1, 2, 3)).items():
        np.testing.assert_array_equal(case.label if name == "label" else case.images[name], array)


def test_channels_and_labels_of_older_descriptions_are_named_too(tmp_path):
    older = {"modality": {"0": "CT", "1": "PET"}, "labels": {"0": "air", "1": "liver", "2": "tumour"}}
    text = message(tmp_path, older)
    assert "Rename x_0000 to x_CT, x_0001 to x_PET and" in text
    assert "--config.data.modalities=CT,PET --config.data.labels=air,liver,tumour " in text
    assert """--config.data.regions='{"liver": [1], "tumour": [2]}'.""" in text


def test_regions_become_regions_and_voxels_to_ignore_no_class(tmp_path):
    labels = {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "rim": 3, "ignore": 4}
    text = message(tmp_path, {"channel_names": {"0": "T1", "1": "T1-Gd"}, "labels": labels})
    assert "--config.data.modalities=T1,T1Gd --config.data.labels=background,class_1,class_2,rim " in text
    [regions] = re.findall("--config.data.regions='(.*)'", text)
    assert json.loads(regions) == {"whole_tumour": [1, 2, 3], "core": [2, 3], "rim": [3]}


@pytest.mark.parametrize(
    "description",
    [
        *("", "[]", "{}", '{"modality": 3, "labels": 4}', '{"labels": {"a": "b"}}'),
        {"channel_names": {"0": "noNorm", "1": "noNorm"}},
        {"channel_names": {"0": "label", "1": "CT"}},
        {"channel_names": {"0": "T1", "1": "(?)"}},
    ],
)
def test_without_names_that_files_can_have_the_message_leaves_them_open(tmp_path, description):
    text = message(tmp_path, description)
    assert "Rename x_0000 to x_<modality of channel 0>, x_0001 to x_<modality of channel 1> and" in text
    assert "--config.data.modalities=<modality of channel 0>,<modality of channel 1> --config.data.labels and" in text


def test_images_that_are_not_nifti_are_to_be_converted(tmp_path):
    touch(tmp_path, "imagesTr/x_0000.nrrd")
    with pytest.raises(UserError, match=r"Convert the files to \.nii\.gz\. Rename x_0000 to"):
        find_cases(tmp_path, ("ct",))
    assert "Convert" not in message(tmp_path / "nifti", {})
