import base64
import gzip
import json
import re
import shutil
import subprocess

import cv2
import nibabel
import numpy as np
import pytest

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients.viewer import write_page
from mmsynth_tf.patients.viewer.files import find_images
from mmsynth_tf.patients.viewer.volume_data import pack_case
from mmsynth_tf.reports import figures
from tests.fakes.fakes_cases import BRATS_2023, LPS_AFFINE, volumes, write_nifti_case

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHAPE = (24, 30, 20)
# Voxel axes to the left, the back and the head; voxels of 2 x 2 x 3 mm.
AFFINE = np.array([[-2.0, 0, 0, 20], [0, -2, 0, 30], [0, 0, 3, -25], [0, 0, 0, 1]])
CORNER = (5, 7, 15)  # Of the lesion, a voxel to the right, in front and above the middle.


def head_and_lesion():
    """A head that brightens to the left, and a brighter lesion at the patient's right, front and top."""
    head = np.zeros(SHAPE, np.int16)
    head[2:22, 3:27, 2:19] = 100 + 10 * np.arange(20)[:, None, None]
    lesion = np.zeros(SHAPE, np.uint8)
    lesion[tuple(slice(c - 1, c + 2) for c in CORNER)] = 4
    return np.where(lesion > 0, 400, head).astype(np.int16), lesion


def write_case(folder, case="case_1", orientation="LPS"):
    """Writes the head as t1 and t2 and the lesion as label, stored along other axes."""
    image, lesion = head_and_lesion()
    for name, array in (("t1", image), ("t2", image[::-1]), ("seg", lesion)):
        stored = nibabel.Nifti1Image(array, AFFINE)
        start, end = (nibabel.orientations.axcodes2ornt(codes) for codes in ("LPS", orientation))
        (folder / case).mkdir(parents=True, exist_ok=True)
        turned = stored.as_reoriented(nibabel.orientations.ornt_transform(start, end))
        nibabel.save(turned, folder / case / f"{case}_{name}.nii.gz")
    return folder / case


def pack(folder, max_size=64):
    [case] = find_images(folder)
    return pack_case(case, max_size)


def unpack(text, shape):
    differences = np.frombuffer(gzip.decompress(base64.b64decode(text)), np.uint8)
    return np.cumsum(differences, dtype=np.uint8).reshape(shape, order="F")


def test_files_are_grouped_by_case_and_named_as_in_their_names(tmp_path):
    write_case(tmp_path, "a")
    write_nifti_case(tmp_path, "b-01", volumes(), BRATS_2023)
    found = {case.name: case for case in find_images(tmp_path)}
    assert set(found["a"].images) == {"t1", "t2"}
    assert set(found["b-01"].images) == {"t1n", "t1c", "t2w", "t2f"}
    assert found["b-01"].label.name == "b-01-seg.nii.gz"


def test_names_with_underscores_belong_to_the_case_with_that_label(tmp_path):
    for name in ("p_1_ct_venous", "p_1_pet", "p_1_seg", "p_1_b_pet", "p_1_b_seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    found = {case.name: set(case.images) for case in find_images(tmp_path)}
    assert found == {"p_1": {"ct_venous", "pet"}, "p_1_b": {"pet"}}


def test_images_and_labels_in_folders_of_their_own_are_brought_together(tmp_path):
    for name in ("imagesTr/p_1_0000", "imagesTr/p_1_0001", "labelsTr/p_1", "imagesTs/q"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    labelled, other = find_images(tmp_path)
    assert (labelled.name, set(labelled.images), labelled.label.name) == ("p_1", {"0000", "0001"}, "p_1.nii.gz")
    assert (other.name, set(other.images), other.label) == ("q", {"image"}, None)


def test_cases_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    write_case(tmp_path / "real")
    write_case(tmp_path / "made")
    assert [case.name for case in find_images(tmp_path)] == ["made/case_1", "real/case_1"]


def test_one_file_is_a_case(tmp_path):
    path = write_case(tmp_path) / "case_1_t2.nii.gz"
    assert find_images(path)[0].images == {"image": path}


def test_a_place_without_images_is_refused(tmp_path):
    with pytest.raises(UserError, match="No image in"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="no NIfTI file"):
        find_images(tmp_path / "absent")


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "SLA"])
def test_any_orientation_of_the_file_shows_the_same(tmp_path, orientation):
    expected, found = pack(write_case(tmp_path / "lps")), pack(write_case(tmp_path / "other", orientation=orientation))
    assert found == expected


def test_the_crop_keeps_voxels_and_their_places_in_millimetres(tmp_path):
    packed = pack(write_case(tmp_path))
    assert packed["shape"] == (24, 28, 20)  # The head with a margin of two voxels, as far as there are any.
    assert packed["spacing"] == [2, 2, 3]
    first = unpack(packed["images"][0]["voxels"], packed["shape"])
    x, y, z = (int(indices.mean()) for indices in np.nonzero(first == 255))
    np.testing.assert_allclose(np.array(packed["affine"]) @ [x, y, z, 1], (AFFINE @ [*CORNER, 1])[:3])
    assert packed["start"] == [x - 1, y - 1, z - 1]  # The first of three slices with equally much lesion.


def test_labels_keep_their_values_and_volumes(tmp_path):
    packed = pack(write_case(tmp_path))
    assert (packed["label"]["values"], packed["label"]["volumes"]) == ([4], [0.32])  # 27 voxels of 12 mm³.
    assert np.count_nonzero(unpack(packed["label"]["voxels"], packed["shape"]) == 1) == 27


def test_each_class_has_its_volume(tmp_path):
    write_nifti_case(tmp_path, "a", volumes())
    label = pack(tmp_path)["label"]
    assert (label["values"], label["volumes"]) == ([1, 2, 4], [0.02] * 3)  # 16 voxels of 1 mm³ each.


def test_shrunk_images_keep_their_mean(tmp_path):
    folder = write_case(tmp_path)
    whole, shrunk = (pack(folder, size) for size in (64, 12))
    means = [unpack(packed["images"][0]["voxels"], packed["shape"]).mean() for packed in (whole, shrunk)]
    assert means[1] == pytest.approx(means[0], abs=0.5)


def test_large_volumes_shrink_and_stay_in_place(tmp_path):
    packed = pack(write_case(tmp_path), max_size=12)
    assert packed["shape"] == (12, 12, 12)
    extent = [size * spacing for size, spacing in zip(packed["shape"], packed["spacing"], strict=True)]
    np.testing.assert_allclose(extent, [48, 56, 60], rtol=1e-4)
    weights = unpack(packed["label"]["voxels"], packed["shape"])
    centre = np.array(packed["affine"]) @ [*np.argwhere(weights).mean(axis=0), 1]
    np.testing.assert_allclose(centre, (AFFINE @ [*CORNER, 1])[:3], atol=5)  # A voxel of the page is 4 to 5 mm.


def test_the_values_behind_the_greys_are_those_of_the_file(tmp_path):
    [first, _] = pack(write_case(tmp_path))["images"]
    assert (first["low"], first["high"]) == (100, 400)


def test_a_stack_of_images_is_shown_one_by_one(tmp_path):
    image, _ = head_and_lesion()
    nibabel.save(nibabel.Nifti1Image(np.stack([image, image], axis=-1), AFFINE), tmp_path / "a.nii.gz")
    assert [image["name"] for image in pack(tmp_path / "a.nii.gz")["images"]] == ["image 1", "image 2"]


def test_files_that_do_not_fit_together_are_refused_by_name(tmp_path):
    folder = write_case(tmp_path)
    image, lesion = head_and_lesion()
    nibabel.save(nibabel.Nifti1Image(lesion[1:], AFFINE), folder / "case_1_seg.nii.gz")
    with pytest.raises(UserError, match=r"Case case_1, case_1_seg\.nii\.gz: its shape"):
        pack(folder)
    nibabel.save(nibabel.Nifti1Image(lesion, LPS_AFFINE), folder / "case_1_seg.nii.gz")
    with pytest.raises(UserError, match="its affine differs"):
        pack(folder)
    nibabel.save(nibabel.Nifti1Image(image / np.float32(7), AFFINE), folder / "case_1_seg.nii.gz")
    with pytest.raises(UserError, match="no label"):
        pack(folder)


def test_an_image_without_contrast_is_shown_black(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), AFFINE), tmp_path / "a.nii.gz")
    packed = pack(tmp_path / "a.nii.gz")
    assert not unpack(packed["images"][0]["voxels"], packed["shape"]).any()
    assert packed["start"] == [12, 15, 10]  # The middle, for there is no lesion.


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of two cases."""
    folder = tmp_path_factory.mktemp("viewer")
    for case in ("case_1", "</script><b>"):
        write_case(folder / "cases", case.replace("/", "_"))
    write_page(folder / "cases", folder / "page.html")
    return folder / "page.html"


def test_the_page_holds_everything_and_loads_nothing(page):
    text = page.read_text(encoding="utf-8")
    assert constants.DISCLAIMER in text
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|src=|<link|@import|url\(", text)
    cases = re.findall(r'<script type="application/json" class="case" data-name="[^"<]*">(.*?)</script>', text)
    assert [json.loads(case)["name"] for case in cases] == ["<_script><b>", "case_1"]


def browse(page, *options):
    """Opens the page in a browser without a window; returns what the browser printed."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"None of {', '.join(BROWSERS)} is installed to open the page with.")
    quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
    # Virtual time, ms, passes while there is work to do: the page is complete, however slow the machine.
    own = ("--virtual-time-budget=10000", f"--user-data-dir={page.parent / 'browser'}")
    command = [browser, *quiet, *own, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_in_a_browser_the_images_fit_a_phone_and_show_the_lesion_in_its_colour(page):
    browse(page, f"--screenshot={page.parent / 'phone.png'}", "--window-size=500,1400")
    picture = cv2.imread(str(page.parent / "phone.png")).astype(int)
    assert (picture.min(axis=-1) > 60).mean() > 0.1  # Text and heads; the page itself is darker.
    # The lesion is white (255) in the images, and has the first colour of labels laid over it with 45 %.
    colour = np.array([int(figures.LABEL_COLOURS[0][i : i + 2], 16) for i in (5, 3, 1)])
    expected = 255 + 0.45 * (colour - 255)
    assert (np.abs(picture - expected).max(axis=-1) < 12).sum() > 200


# Without a window there are no frames to wait for.
NO_FRAMES = "<script>window.requestAnimationFrame = (draw) => setTimeout(draw, 0);</script>"
# What a person would do, and what the page then shows: places are shares of an image's width and height.
PROBE = """
<script>
const frames = () => new Promise((done) => setTimeout(done, 50));
const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const pixels = (canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
const coloured = (canvas) => {
  const places = [];
  const data = pixels(canvas);
  for (let i = 0; i < data.length; i += 4) {
    const pixel = i / 4;
    const place = [(pixel % canvas.width) / canvas.width, pixel / canvas.width / canvas.height];
    if (data[i] !== data[i + 2]) places.push(place);
  }
  return places;
};
const mean = (places) => [0, 1].map((side) => places.reduce((sum, place) => sum + place[side], 0) / places.length);
(async () => {
  while (!document.querySelector("canvas")) await new Promise((done) => setTimeout(done, 20));
  await frames();
  const canvases = [...document.querySelectorAll("canvas")];
  const seen = { names: canvases.map((canvas) => canvas.getAttribute("aria-label")) };
  seen.lesions = canvases.map((canvas) => mean(coloured(canvas)));
  seen.readout = document.getElementById("readout").textContent;
  seen.width = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const slice = () => Number(document.getElementById("slice-axial").value);
  const before = slice();
  press("ArrowUp");
  await frames();
  seen.moved = slice() - before;
  press("l");
  await frames();
  seen.hidden = coloured(canvases[0]).length;
  press("ArrowRight");
  while (document.querySelector("canvas") === canvases[0]) await new Promise((done) => setTimeout(done, 20));
  await frames();
  seen.second = document.getElementById("case").selectedOptions[0].textContent;
  document.body.dataset.seen = JSON.stringify(seen);
})();
</script>
"""


@pytest.fixture(scope="module")
def seen(page):
    probed = page.with_name("probed.html")
    text = page.read_text(encoding="utf-8").replace("<head>", f"<head>{NO_FRAMES}")
    probed.write_text(text + PROBE, encoding="utf-8")
    dom = browse(probed, "--dump-dom", "--window-size=500,900")
    [text] = re.findall(r'data-seen="([^"]*)"', dom)
    return json.loads(text.replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


def test_in_a_browser_right_front_and_top_are_where_the_marks_say(seen):
    lesions = dict(zip(seen["names"], seen["lesions"], strict=True))
    left, top = lesions["t1, axial slice"]
    assert left < 0.35 and top < 0.35  # Right and front.
    left, top = lesions["t1, coronal slice"]
    assert left < 0.35 and top < 0.35  # Right and top.
    left, top = lesions["t1, sagittal slice"]
    assert left < 0.35 and top < 0.35  # Front and top.
    assert len(lesions) == 6


def test_in_a_browser_keys_go_through_slices_and_cases_and_hide_the_label(seen):
    assert seen["moved"] == 1
    assert seen["hidden"] == 0
    assert seen["second"] == "case_1"


def test_in_a_browser_the_crosshair_tells_place_values_and_label(seen):
    assert seen["readout"].startswith("R 12.0  A 18.0  S 17.0 mm")
    assert "t1 400" in seen["readout"]
    assert seen["readout"].endswith("label 4")


def test_in_a_browser_nothing_is_wider_than_a_phone(seen):
    assert seen["width"] <= 0


def test_names_with_capitals_are_found(tmp_path):
    for name in ("a_T1.NII.GZ", "a_Seg.Nii"):
        (tmp_path / name).touch()
    [case] = find_images(tmp_path)
    assert (case.name, set(case.images), case.label) == ("a", {"T1"}, tmp_path / "a_Seg.Nii")
    assert find_images(tmp_path / "a_T1.NII.GZ")[0].name == "a_T1"
