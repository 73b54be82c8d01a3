"""Patients who do not exist: their grid, their slices, and the layouts they are written in."""

import dataclasses
import gzip
import json

import nibabel
import numpy as np
import pytest

from datasets import check
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import sample, sample_layouts
from mmsynth_tf.reading.releases import find_cases, search_cases
from tests.fakes import fake_slice_models

DATA = dataclasses.replace(
    fake_slice_models.DATA, labels=("background", "lesion"), modalities=("t1", "flair"), regions={"all": (1,)}
)
SAMPLER = sample.Sampler(fake_slice_models.slice_models(DATA), smooth=False)


def test_codes_of_a_path_are_standard_normal_and_change_slowly(rng):
    path = sample.latent_path(40, 2000, 5.0, rng)
    np.testing.assert_allclose(path.std(axis=1), 1.0, atol=0.1)
    for distance in (1, 5, 10):
        products = (path[:-distance] * path[distance:]).mean()
        assert products == pytest.approx(np.exp(-(distance**2) / (4 * 5.0**2)), abs=0.05)


def test_codes_without_correlation_are_independent(rng):
    path = sample.latent_path(40, 2000, 0.0, rng)
    assert abs((path[:-1] * path[1:]).mean()) < 0.02


def test_sample_lies_in_the_models_slices_and_its_lesion_in_the_head():
    made = SAMPLER(0)
    assert made.label.shape == SAMPLER.grid.shape == (28, 32, 8)
    assert not made.label[..., :2].any()
    assert made.label.any()
    for volume in made.images.values():
        assert not volume[..., :2].any()
        assert volume[..., 2:].any()
        assert (volume[made.label > 0] > 0).all()
        np.testing.assert_allclose(volume[made.label > 0].mean(), 0.4, atol=0.02)


def test_sample_depends_on_its_number_and_the_seed_alone():
    first, again, second = SAMPLER(1), SAMPLER(1), SAMPLER(2)
    np.testing.assert_array_equal(first.label, again.label)
    np.testing.assert_array_equal(first.images["t1"], again.images["t1"])
    assert (first.label != second.label).any()


TALL = dataclasses.replace(DATA, slices=(0, 24, 3))


def test_one_code_runs_from_the_lowest_slice_of_a_training_patients_head_to_the_highest(monkeypatch):
    models = fake_slice_models.slice_models(TALL, head_slices={"a": (2, 18), "b": (2, 18)})
    codes, positions = [], []
    original = models.sample_structure

    def observed(code, position):
        codes.append(code)
        positions.append(position)
        return original(code, position)

    monkeypatch.setattr(models, "sample_structure", observed)
    made = sample.Sampler(models, smooth=False)(0)
    for code, position in zip(codes, positions, strict=True):
        assert len(code) == 17 and np.all(code == code[0])
        np.testing.assert_allclose(position, np.arange(17) / 16)
    # Candidates are different heads.
    assert len({code[0].tobytes() for code in codes}) == len(codes) > 1
    areas = (made.images["t1"] > 0).sum(axis=(0, 1))
    assert made.label.shape == (28, 32, 24)
    assert not areas[:2].any() and not areas[19:].any()
    assert np.all(np.diff(areas[2:11]) > 0) and np.all(np.diff(areas[10:19]) < 0)
    assert not made.label[(made.images["t1"] == 0)].any() and made.label.any()
    assert made.record["lesion_pieces"] == 1


def test_a_grown_lesion_is_one_piece_where_the_head_cuts_it(monkeypatch):
    label = np.zeros((9, 9, 9), np.uint8)
    label[1:4, 1:4, 1:4], label[4, 4, 4], label[6:8, 6:8, 6:8] = 2, 1, 2
    monkeypatch.setattr(sample.lesions, "place", lambda *arguments: (label, {}))
    found, _ = SAMPLER._draw_label(None, np.random.default_rng(0))
    np.testing.assert_array_equal(found[:5, :5, :5], label[:5, :5, :5])
    assert not found[5:].any()
    assert sample._pieces(label)[1] == 2 and sample._pieces(found)[1] == 1


def test_heads_are_as_high_as_those_of_training_patients():
    models = fake_slice_models.slice_models(TALL, head_slices={"a": (2, 18), "b": (6, 20)})
    sampler, spans = sample.Sampler(models, smooth=False), set()
    for index in range(8):
        shown = np.flatnonzero((sampler(index).images["t1"] > 0).any(axis=(0, 1)))
        spans.add((int(shown[0]), int(shown[-1])))
    assert spans == {(2, 18), (6, 20)}


def test_what_the_structure_stage_does_not_know_is_said(caplog):
    sample.Sampler(fake_slice_models.slice_models(DATA))
    assert "no anatomy from feet to crown" in caplog.text
    caplog.clear()
    sample.Sampler(fake_slice_models.slice_models(TALL, head_slices={"a": (2, 18)}))
    assert not caplog.text
    sample.Sampler(fake_slice_models.slice_models(DATA, head_slices={"a": (1, 18)}))
    assert "knows the slices 2 to 7, and heads reach from about 1 to 18" in caplog.text
    with pytest.raises(UserError, match="several slices of each case"):
        sample.Sampler(fake_slice_models.slice_models(TALL, head_slices={}))


def test_brats_models_sample_on_the_grid_of_brats():
    grid = sample.Sampler(fake_slice_models.slice_models()).grid
    assert grid.shape == (240, 240, 155)
    np.testing.assert_array_equal(grid.affine, [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert "".join(nibabel.aff2axcodes(grid.affine)) == "LPS"


def test_folders_named_like_brats_can_be_read_as_cases(tmp_path):
    sample_layouts.write(SAMPLER, 2, tmp_path / "out")
    cases = find_cases(tmp_path / "out", DATA.modalities)
    assert [case.case_id for case in cases] == ["synthetic_00000", "synthetic_00001"]
    assert all(list(case.images) == ["t1", "flair"] and case.label for case in cases)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["disclaimer"] == "Research software. Not for clinical use."
    assert manifest["models"] == {"synthesis": "abc"}
    assert [case["label"]["source"] for case in manifest["cases"]] == ["grown", "grown"]
    assert (tmp_path / "out" / "previews" / "synthetic_00001.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="--overwrite"):
        sample_layouts.write(SAMPLER, 1, tmp_path / "out")


@pytest.mark.parametrize("layout", ["brats", "nnunet"])
def test_a_job_that_was_stopped_goes_on(tmp_path, layout, monkeypatch):
    sample_layouts.write(SAMPLER, 3, tmp_path / "whole", layout=layout)
    made = []

    def make(sampler, index, fails=True):
        if index == 2 and fails:
            raise KeyboardInterrupt
        made.append(index)
        return original(sampler, index)

    original = sample.Sampler.__call__
    monkeypatch.setattr(sample.Sampler, "__call__", make)
    with pytest.raises(KeyboardInterrupt):
        sample_layouts.write(SAMPLER, 3, tmp_path / "stopped", layout=layout)
    assert not (tmp_path / "stopped").exists()
    with pytest.raises(UserError, match="interrupted job with other settings or models"):
        sample_layouts.write(dataclasses.replace(SAMPLER, seed=9), 3, tmp_path / "stopped", layout=layout)
    monkeypatch.setattr(sample.Sampler, "__call__", lambda sampler, index: make(sampler, index, fails=False))
    sample_layouts.write(SAMPLER, 3, tmp_path / "stopped", layout=layout)
    assert made == [0, 1, 2]
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "stopped"}


def contents(folder):
    """What the files hold, but for times: those in gzip headers and in the manifest."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".gz":
            found[path.relative_to(folder)] = gzip.decompress(path.read_bytes())
        elif path.name == "manifest.json":
            found[path.relative_to(folder)] = {**json.loads(path.read_text()), "created": None}
        elif path.is_file():
            found[path.relative_to(folder)] = path.read_bytes()
    return found


def test_folders_named_like_brats_pass_the_check(tmp_path):
    sample_layouts.write(SAMPLER, 2, tmp_path / "out")
    data = dataclasses.replace(DATA, test_fraction=0.5)
    problems = check.check_cases(search_cases(tmp_path / "out", data.modalities), data, allow_incomplete=False)
    # The stub's modalities are all alike, which is a warning.
    assert not [problem for problem in problems if not problem.is_warning]


def test_monai_reads_folders_named_like_brats(tmp_path):
    transforms = pytest.importorskip("monai.transforms", reason="extra 'monai'")
    sample_layouts.write(SAMPLER, 1, tmp_path / "out")
    case = tmp_path / "out" / "synthetic_00000"
    images = [str(case / f"synthetic_00000_{name}.nii.gz") for name in DATA.modalities]
    paths = {"image": images, "label": str(case / "synthetic_00000_seg.nii.gz")}
    load = transforms.Compose(
        [
            transforms.LoadImaged(tuple(paths)),
            transforms.EnsureChannelFirstd(tuple(paths)),
            transforms.Orientationd(tuple(paths), axcodes="LPS"),
        ]
    )
    loaded = load(paths)
    made = SAMPLER(0)
    np.testing.assert_array_equal(loaded["label"][0], made.label)
    np.testing.assert_allclose(loaded["image"], np.stack([made.images[name] for name in DATA.modalities]), atol=1e-6)


def test_nnunet_layout(tmp_path):
    sample_layouts.write(SAMPLER, 1, tmp_path / "out", layout="nnunet", largest=4095)
    folder = tmp_path / "out"
    assert sorted(path.name for path in (folder / "imagesTr").iterdir()) == [
        "synthetic_00000_0000.nii.gz",
        "synthetic_00000_0001.nii.gz",
    ]
    description = json.loads((folder / "dataset.json").read_text())
    assert description == {
        "channel_names": {"0": "t1", "1": "flair"},
        "labels": {"background": 0, "lesion": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    image = nibabel.load(folder / "imagesTr" / "synthetic_00000_0001.nii.gz")
    label = nibabel.load(folder / "labelsTr" / "synthetic_00000.nii.gz")
    assert image.shape == label.shape
    assert set(np.unique(label.get_fdata())) == {0, 1}
    assert image.get_data_dtype() == np.int16
