"""Jobs on patients with models that can be seen through, and what is refused."""

import dataclasses
import io
import json
import time

import nibabel
import numpy as np
import pytest

from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import consistency, files, insert, jobs, lesions, patient, segment, translate
from mmsynth_tf.reading.release_table import RELEASES
from tests.fakes import fake_slice_models, fakes_cases

MODELS = fake_slice_models.slice_models()
SHAPE = (28, 32, 10)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def head():
    x, y, _ = np.indices(SHAPE)
    return np.hypot((x - 14) / 11, (y - 16) / 13) < 1


def write_case(folder, case_id="case", **labels):
    """T1 and FLAIR of a head with a bright block, and a label there if one is named."""
    x, y, z = np.indices(SHAPE)
    image = np.where(head(), 100 + x + 2 * y + 3 * z, 0).astype(np.int16)
    image[10:14, 10:14, 4:7] = 1000
    arrays = {"t1": image, "flair": image // 2, **labels}
    return fakes_cases.write_nifti_case(folder, case_id, arrays, affine=AFFINE)


def own_label():
    label = np.zeros(SHAPE, np.uint8)
    label[10:14, 10:14, 4:7] = 4
    return label


def run(job, folder, output, **settings):
    jobs.for_each(files.find(folder, MODELS.data.modalities), output, job, **settings)


def load(path):
    return nibabel.load(path).get_fdata()


def record(folder):
    return json.loads((folder / jobs.RECORD_FILE).read_text())


def test_missing_modalities_are_made_under_the_names_of_the_case(tmp_path):
    write_case(tmp_path / "in")
    run(translate.Translate(MODELS), tmp_path / "in", tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "case").iterdir())
    assert names == ["case_t1ce.nii.gz", "case_t2.nii.gz", "mmsynth.json"]
    made = record(tmp_path / "out" / "case")
    assert (made["sources"], made["targets"]) == (["t1", "flair"], ["t2", "t1c"])
    assert made["models"] == {"synthesis": "abc"}
    assert "Not for clinical use" in made["disclaimer"]


def test_all_modalities_of_a_case_are_translated_from_unless_some_are_named(tmp_path):
    write_case(tmp_path / "in")
    one = patient.read(files.find(tmp_path / "in", MODELS.data.modalities)[0], MODELS.data)
    plain = fake_slice_models.slice_models(guided=False)
    for sources, seen in (((), ("t1", "flair")), (("flair",), ("flair",))):
        job = translate.Translate(plain, sources=sources, targets=("t2",), smooth=False)
        run(job, tmp_path / "in", tmp_path / seen[0])
        assert record(tmp_path / seen[0] / "case")["sources"] == list(seen)
        # A translation is the mean of the given modalities.
        mean = np.mean([one.scaled(name) for name in seen], axis=0)
        np.testing.assert_allclose(load(tmp_path / seen[0] / "case" / "case_t2.nii.gz"), mean, atol=1e-5)


def test_sources_and_targets_that_do_not_go_together_are_refused(tmp_path):
    write_case(tmp_path / "in")
    for settings, message in (
        ({"sources": ("t2",)}, "Case case has no t2, only t1, flair"),
        ({"sources": ("t1",), "targets": ("t1",)}, r"t1 is both source and target.*--source"),
        ({"targets": ("t1", "flair")}, r"Case case: all its modalities \(t1, flair\) are targets.*--targets"),
    ):
        with pytest.raises(UserError, match=message):
            run(translate.Translate(MODELS, **settings), tmp_path / "in", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


ALONE = " by the segmenters of single modalities, because the models have no joint segmenter"


@pytest.mark.parametrize(
    ("joint", "labels", "settings", "where"),
    [
        (True, {}, {}, "found in t1, flair"),
        (False, {}, {}, "found in t1, flair" + ALONE),
        (False, {}, {"sources": ("t1",), "targets": ("flair",)}, "found in t1" + ALONE),
        (True, {"label": np.roll(own_label(), 6, axis=1)}, {}, "the case's label"),
    ],
)
def test_a_lesion_is_drawn_where_the_label_says_or_where_it_is_found(tmp_path, joint, labels, settings, where):
    models = fake_slice_models.slice_models(draws_lesions=True, joint=joint)
    write_case(tmp_path / "in", **labels)
    run(translate.Translate(models, smooth=False, **settings), tmp_path / "in", tmp_path / "out")
    folder = tmp_path / "out" / "case"
    assert record(folder)["lesion"] == where
    made = load(folder / f"case_{'flair' if settings else 't2'}.nii.gz")
    np.testing.assert_array_equal(made > 0.3, (labels.get("label", own_label())) > 0)
    # An annotated lesion is certain.
    assert (folder / "case_lesion_uncertainty.nii.gz").exists() is not bool(labels)
    assert (record(folder)["least_lesion_probability"] is None) is bool(labels)


@pytest.mark.parametrize("joint", [True, False])
def test_a_lesion_that_is_not_sure_is_left_out_and_shown_as_uncertain(tmp_path, joint):
    write_case(tmp_path / "in")
    block = own_label() > 0
    for certainty, drawn in ((0.98, True), (0.6, False)):
        # Without a joint segmenter, t1 alone finds the lesion, so that no sum over modalities changes the probability.
        models = fake_slice_models.slice_models(
            draws_lesions=True, joint=joint, certainty={"t1": certainty, "joint": certainty}
        )
        job = translate.Translate(models, sources=() if joint else ("t1",), smooth=False)
        run(job, tmp_path / "in", tmp_path / str(drawn))
        folder = tmp_path / str(drawn) / "case"
        np.testing.assert_array_equal(load(folder / "case_t2.nii.gz") > 0.3, block & drawn)
        image = nibabel.load(folder / "case_lesion_uncertainty.nii.gz")
        assert image.get_data_dtype() == np.float32
        uncertainty = image.get_fdata()
        np.testing.assert_allclose(uncertainty[block], 1 - certainty if drawn else certainty, atol=1e-6)
        assert not uncertainty[~block].any()


def test_a_lesion_at_heights_that_no_training_slice_showed_is_left_out_unless_it_reaches_one(tmp_path):
    """Training slices are 2 to 7, the block lies in slices 4 to 6."""
    write_case(tmp_path / "in")
    for first, drawn in ((6, True), (7, False)):
        data = dataclasses.replace(fake_slice_models.DATA, slices=(first, 10, 1))
        models = fake_slice_models.slice_models(data, draws_lesions=True, joint=True)
        run(translate.Translate(models, smooth=False), tmp_path / "in", tmp_path / str(first))
        folder = tmp_path / str(first) / "case"
        np.testing.assert_array_equal(load(folder / "case_t2.nii.gz") > 0.3, (own_label() > 0) & drawn)
        uncertainty = load(folder / "case_lesion_uncertainty.nii.gz")[own_label() > 0]
        np.testing.assert_allclose(uncertainty, 0.0 if drawn else 1.0, atol=1e-6)


def test_translations_keep_the_detail_of_the_files_own_voxels_if_the_models_go_by_the_given_slice(tmp_path):
    write_case(tmp_path / "in")
    data = dataclasses.replace(fake_slice_models.DATA, image_size=(16, 14))  # Pixels of 2 x 2 voxels.
    source = patient.read(files.find(tmp_path / "in", data.modalities)[0], data).scaled("t1")
    errors = {}
    for name, guided in (("plain", False), ("guided", True)):
        models = fake_slice_models.slice_models(data, guided=guided)
        run(translate.Translate(models, sources=("t1",), smooth=False), tmp_path / "in", tmp_path / name)
        made = load(tmp_path / name / "case" / "case_t2.nii.gz")
        errors[name] = np.abs(made - source).mean()
    assert errors["guided"] < 0.3 * errors["plain"]


def test_case_that_lacks_nothing_is_refused(tmp_path):
    write_case(tmp_path, t2=load_t1(tmp_path), t1c=load_t1(tmp_path))
    with pytest.raises(UserError, match=r"lacks no modality.*--targets"):
        run(translate.Translate(MODELS), tmp_path, tmp_path / "out")


def load_t1(folder):
    return load(write_case(folder) / "case_t1.nii.gz").astype(np.int16)


def test_bad_case_is_named_and_does_not_keep_others_from_being_done(tmp_path):
    for case_id in ("a", "b", "c"):
        write_case(tmp_path / "in", case_id)
    (tmp_path / "in" / "b" / "b_t1.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 3 cases failed; the first: Case b, b_t1\.nii\.gz"):
        run(translate.Translate(MODELS), tmp_path / "in", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "c"]


def test_progress_is_a_line_every_few_seconds_where_there_is_no_terminal(monkeypatch, caplog):
    monkeypatch.setattr(jobs, "_INTERVAL", 0.05)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with caplog.at_level("INFO"):
        for number in jobs.progress(range(2), 2):
            # The line comes while an item is being worked on, too.
            expected = "1 of 2 cases done, 0:00:0" if number else "0 of 2 cases done in 0:00:0"
            for _ in range(200):
                if expected in caplog.text:
                    break
                time.sleep(0.05)
            assert expected in caplog.text
    assert jobs.progress_line(3, 17, 90.0, "case") == "3 of 17 cases done, 0:07:00 left"
    caplog.clear()
    time.sleep(0.2)
    assert not caplog.text


def test_nothing_is_overwritten_unless_asked(tmp_path):
    for case_id in ("a", "b"):
        write_case(tmp_path / "in", case_id)
    job = translate.Translate(MODELS)
    run(job, tmp_path / "in", tmp_path / "out")
    (tmp_path / "out" / "a" / "case_t2.nii.gz").touch()
    with pytest.raises(UserError, match=r"already holds 2 of the 2 cases.*--resume.*--overwrite"):
        run(job, tmp_path / "in", tmp_path / "out")
    run(job, tmp_path / "in", tmp_path / "out", resume=True)
    assert (tmp_path / "out" / "a" / "case_t2.nii.gz").exists()
    run(job, tmp_path / "in", tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "a" / "case_t2.nii.gz").exists()


def test_models_without_the_stage_are_refused():
    without = fake_slice_models.slice_models(without=("translate", "synthesize", "segment_t1"))
    for make, name in ((translate.Translate, "translate"), (segment.Segment, "segment_t1")):
        with pytest.raises(UserError, match=f"models/a cannot {name}"):
            make(without)
    with pytest.raises(UserError, match="cannot synthesize"):
        insert.Insert(without, [])


def labels_from(tmp_path, label, affine=AFFINE):
    path = tmp_path / "labels" / "other_seg.nii.gz"
    path.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(label, affine), path)
    return lesions.find(path.parent)


def test_label_that_stays_is_taken_as_it_lies(tmp_path):
    write_case(tmp_path / "in")
    label = np.zeros(SHAPE, np.uint8)
    label[15:19, 14:17, 3:6] = 2
    found = labels_from(tmp_path, label)
    run(insert.Insert(MODELS, found, move=False, redraw=True, smooth=False), tmp_path / "in", tmp_path / "out")
    folder = tmp_path / "out" / "case"
    np.testing.assert_array_equal(load(folder / "case_seg.nii.gz"), label)
    for suffix in ("t1", "t2", "t1ce", "flair"):
        expected = np.where(head(), 0.5 - label / 10, 0)
        np.testing.assert_allclose(load(folder / f"case_{suffix}.nii.gz"), expected, atol=1e-6)


@pytest.mark.parametrize("own", [{}, {"label": own_label()}])
def test_lesion_is_put_into_the_images_that_a_case_has(tmp_path, own):
    """Near the label the images are the made ones, far from it the patient's; what was labelled stays so."""
    write_case(tmp_path / "in", **own)
    label = np.zeros(SHAPE, np.uint8)
    label[17:20, 19:22, 7:9] = 2
    found = labels_from(tmp_path, label)
    run(insert.Insert(MODELS, found, move=False), tmp_path / "in", tmp_path / "out")
    folder = tmp_path / "out" / "case"
    expected = label + own["label"] if own else label
    np.testing.assert_array_equal(load(folder / "case_seg.nii.gz"), expected)
    one = patient.read(files.find(tmp_path / "in", MODELS.data.modalities)[0], MODELS.data)
    for modality, suffix in (("t1", "t1"), ("flair", "flair")):
        result, real = load(folder / f"case_{suffix}.nii.gz"), one.scaled(modality)
        far = np.ones(SHAPE, bool)
        far[11:26, 13:28, 1:] = False
        np.testing.assert_allclose(result[far], real[far], atol=1e-6)
        assert (np.abs(result - real)[label > 0] > 0.01).all()
    np.testing.assert_allclose(load(folder / "case_t2.nii.gz")[~head()], 0)
    assert record(folder)["drawn_into_own_images"] == ["t1", "flair"]


def test_removed_lesion_is_drawn_over_in_the_images_that_a_case_has(tmp_path):
    write_case(tmp_path / "in", label=own_label())
    label = np.zeros(SHAPE, np.uint8)
    label[18:20, 20:22, 2:4] = 2
    found = labels_from(tmp_path, label)
    run(insert.Insert(MODELS, found, move=False, remove_lesion=True), tmp_path / "in", tmp_path / "out")
    folder = tmp_path / "out" / "case"
    np.testing.assert_array_equal(load(folder / "case_seg.nii.gz"), label)
    block = load(folder / "case_t1.nii.gz")[own_label() > 0]
    assert block.max() < 0.6


def test_label_outside_the_head_is_refused_or_moved(tmp_path):
    write_case(tmp_path / "in")
    label = np.zeros(SHAPE, np.uint8)
    label[0:4, 0:3, 3:6] = 2
    found = labels_from(tmp_path, label)
    with pytest.raises(UserError, match=r"Case case: 100% of the lesion .* outside the head.*--move_label"):
        run(insert.Insert(MODELS, found, move=False), tmp_path / "in", tmp_path / "out")
    run(insert.Insert(MODELS, found, seed=3), tmp_path / "in", tmp_path / "out")
    moved = load(tmp_path / "out" / "case" / "case_seg.nii.gz")
    assert 0 < np.count_nonzero(moved) < 2 * 36
    assert not moved[~head()].any()
    assert record(tmp_path / "out" / "case")["lesions"][0]["source"] == "other_seg.nii.gz"


def test_own_lesion_is_removed_as_labelled_or_as_found(tmp_path, monkeypatch):
    """The block's edges are gone from the structure map."""
    seen = []
    synthesize = MODELS.synthesize
    monkeypatch.setattr(MODELS, "synthesize", lambda s, *others: (seen.append(s), synthesize(s, *others))[1])
    label = np.zeros(SHAPE, np.uint8)
    label[18:20, 18:20, 2:4] = 1
    found = labels_from(tmp_path, label)
    write_case(tmp_path / "with", label=own_label())
    write_case(tmp_path / "without")
    for number, (folder, remove) in enumerate((("without", False), ("with", True), ("without", True))):
        job = insert.Insert(MODELS, found, move=False, remove_lesion=remove)
        run(job, tmp_path / folder, tmp_path / f"out{number}")
    within = own_label()[..., 5].T > 0
    assert [bool(structure[5][within].any()) for structure in seen] == [True, False, False]


def test_the_same_seed_places_the_label_alike(tmp_path):
    write_case(tmp_path / "in")
    found = labels_from(tmp_path, own_label())
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(insert.Insert(MODELS, found, seed=seed), tmp_path / "in", tmp_path / name)
        made.append(load(tmp_path / name / "case" / "case_seg.nii.gz"))
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any()


def test_smoothing_evens_brightness_and_leaves_the_head_alone(rng):
    inside = np.broadcast_to(head().transpose(2, 1, 0), (10, 32, 28))
    anatomy = 0.4 + 0.1 * rng.random((32, 28))
    flicker = 1 + 0.2 * (-1.0) ** np.arange(10)
    slices = (inside * anatomy * flicker[:, None, None]).astype(np.float32)
    smoothed = consistency.smooth(slices, spacing=2.0, blur=0.0)
    np.testing.assert_array_equal(smoothed > 0, inside)
    assert consistency.roughness(smoothed) < 0.15 * consistency.roughness(slices)
    np.testing.assert_allclose(smoothed[inside].mean(), slices[inside].mean(), rtol=0.02)


def test_blur_across_slices_keeps_out_the_outside():
    slices = np.zeros((5, 4, 4), np.float32)
    slices[:3] = 0.5
    np.testing.assert_allclose(consistency.smooth(slices, spacing=1.0, blur=1.0), slices, rtol=1e-5)


def test_roughness_is_the_mean_step_over_the_mean():
    slices = np.array([0.2, 0.4, 0.3, 0.0], np.float32)[:, None, None]
    assert consistency.roughness(slices) == pytest.approx(((0.2 + 0.1) / 2) / 0.3)
    assert np.isnan(consistency.roughness(np.zeros((3, 2, 2), np.float32)))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.full(SHAPE, 3, np.uint8), "label value 3; brats2017-2021 has 0, 1, 2, 4"),
        (np.zeros(SHAPE), "has no lesion"),
    ],
)
def test_label_file_that_cannot_be_used_is_refused(tmp_path, label, message):
    [(path, release)] = labels_from(tmp_path, label)
    with pytest.raises(UserError, match=message):
        lesions.read(path, release, MODELS.data.labels)


def test_labels_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "a_t1.nii.gz").touch()
    with pytest.raises(UserError, match=r"holds no label.*<case>_seg\.nii\.gz"):
        lesions.find(tmp_path)
    with pytest.raises(UserError, match="There is no file or folder"):
        lesions.find(tmp_path / "b")


def test_lesion_is_shrunk_until_it_fits(rng):
    lesion = lesions.Lesion(np.full((40, 40, 40), 2, np.uint8), AFFINE, "large")
    label, _ = lesions.place(lesion, head(), np.ones(3), rng)
    assert 0 < np.count_nonzero(label) < 40**3 / 8
    with pytest.raises(UserError, match="The head is empty"):
        lesions.place(lesion, np.zeros(SHAPE, bool), np.ones(3), rng)


def test_recorded_transform_makes_the_label_again(rng):
    lesion = lesions.Lesion(own_label(), AFFINE, "own")
    label, placed = lesions.place(lesion, head(), np.array([1.0, 1.0, 1.0]), rng)
    index = np.argwhere(label)[0]
    source = np.rint(np.array(placed["matrix"]) @ index + placed["offset"]).astype(int)
    assert lesion.label[tuple(source)] == label[tuple(index)]


def test_grown_lesion_is_nested(rng):
    label = lesions.grow(MODELS.data.labels, rng).label
    assert set(np.unique(label)) == {0, 1, 2, 4}
    middle = np.array(label.shape) // 2
    assert label[tuple(middle)] == 1
    assert RELEASES["brats2017-2021"].label_values.keys() >= set(np.unique(label).tolist())
