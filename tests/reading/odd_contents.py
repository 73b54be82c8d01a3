"""Odd cases: what is inside the files."""

import gzip

import numpy as np

from tests.fakes.fakes_cases import BRATS_2018, LPS_AFFINE
from tests.reading.odd_case import Odd, Outcome
from tests.reading.odd_mutators import (
    affine,
    array,
    as_release_of_2023,
    big_endian,
    content,
    copied,
    flip_bit,
    half_missing,
    header,
    header_field,
    image,
    moved,
    packed_as,
    packed_with_slope,
    renamed,
    reoriented,
    scaled_store,
    swapped,
    turned,
    with_noise,
    with_ringing,
    with_voxel,
)

READ, WARNED, REFUSED, UNNOTICED = Outcome

DAMAGED = "Case a, a_t2.nii.gz: the file is damaged or cut off (…). Copy or download it again."
OTHER_AFFINE = "Case a, a_t2.nii.gz: its affine differs from that of a_t1.nii.gz, by up to … voxels."
UNKNOWN_VALUE = "Case a, a_seg.nii.gz: unknown label value …; brats2017-2021 has 0, 1, 2, 4. "
NOT_WHOLE = f"{UNKNOWN_VALUE}Store the label as whole numbers (up to 0.001 is rounded)."

FILES = (
    Odd("gzip cut off", REFUSED, content(lambda b: b[: len(b) // 2]), DAMAGED),
    Odd("gzip with a bit flipped in the middle", REFUSED, content(lambda b: flip_bit(b, len(b) // 2)), DAMAGED),
    Odd("gzip with a wrong checksum", REFUSED, content(lambda b: flip_bit(b, -7)), DAMAGED),
    Odd("gzip with other bytes behind it", REFUSED, content(lambda b: b + b"more"), DAMAGED),
    Odd(
        "empty file",
        REFUSED,
        content(lambda b: b""),
        "Case a, a_t2.nii.gz: the file is empty. Copy or download it again.",
    ),
    Odd("gzip of nothing", REFUSED, content(lambda b: gzip.compress(b"")), DAMAGED),
    Odd("text under the name of an image", REFUSED, content(lambda b: b"<html>Not found</html>" * 99), DAMAGED),
    Odd("NIfTI that is not packed, named .nii.gz", READ, content(gzip.decompress)),
    Odd("packed NIfTI named .nii", READ, renamed("a_t2.nii", "t2")),
    Odd(
        "header announces more voxels than there are",
        REFUSED,
        header_field(dim=[3, 16, 20, 600, 1, 1, 1, 1]),
        "Case a, a_t2.nii.gz: the file is … bytes shorter than its header says.",
    ),
    Odd(
        "header announces fewer voxels",
        REFUSED,
        header_field(dim=[3, 16, 20, 5, 1, 1, 1, 1]),
        "Case a, a_t2.nii.gz: the file is … bytes longer than its header says.",
    ),
    Odd(
        "header announces another type of voxels",
        REFUSED,
        header_field(datatype=2, bitpix=8),
        "Case a, a_t2.nii.gz: the file is … bytes longer than its header says.",
    ),
    Odd("header with a type of voxels that does not exist", REFUSED, header_field(datatype=9999), DAMAGED),
)

SHAPES = (
    Odd(
        "two dimensions",
        REFUSED,
        array(lambda a: a[..., 0]),
        "Case a, a_t2.nii.gz: its shape is …, which is no volume.",
    ),
    Odd("four dimensions, one frame", READ, array(lambda a: a[..., None])),
    Odd(
        "four dimensions, several frames",
        REFUSED,
        array(lambda a: np.stack([a, a], -1)),
        "Case a, a_t2.nii.gz: it has 4 dimensions (shape …) where 3 are expected.",
    ),
    Odd("five dimensions, one frame", READ, array(lambda a: a[..., None, None])),
    Odd(
        "five dimensions, several frames",
        REFUSED,
        array(lambda a: np.stack([a, a], -1)[:, :, :, None]),
        "Case a, a_t2.nii.gz: it has 4 dimensions (shape …) where 3 are expected.",
    ),
    Odd(
        "axes swapped, and the affine says nothing of it",
        REFUSED,
        array(lambda a: a.swapaxes(0, 1)),
        "Case a, a_t2.nii.gz: its shape … differs from … of a_t1.nii.gz",
    ),
    Odd(
        "a slice less than the other volumes",
        REFUSED,
        array(lambda a: a[:, :, 1:]),
        "Case a, a_t2.nii.gz: its shape … differs from … of a_t1.nii.gz",
    ),
    Odd(
        "fewer slices than the configuration asks for",
        REFUSED,
        array(lambda a: a[:, :, :3], *BRATS_2018),
        "Case a, a_t1.nii.gz: it has 3 voxels where the configuration asks for 1 to 5. Set slices",
    ),
)

GEOMETRY = (
    Odd("axes swapped, and the affine says so", READ, reoriented("SLA")),
    Odd("axes flipped, and the affine says so", READ, reoriented("RAI")),
    Odd("modalities in different orientations", READ, lambda f: (reoriented("RAS")(f), reoriented("PIL", "label")(f))),
    Odd("left and right exchanged, and the affine says nothing of it", UNNOTICED, array(lambda a: a[::-1]), same=False),
    Odd("affines other than the unit matrix, but equal", READ, affine(lambda m: turned(10)(moved(7)(m)), *BRATS_2018)),
    Odd(
        "voxels of another size than data.voxel_mm, in all volumes",
        WARNED,
        affine(lambda m: m @ np.diag([0.5, 0.5, 2, 1]), *BRATS_2018),
        "Case a, a_t1.nii.gz: its voxels have 2 x 0.5 x 0.5 mm (between slices, rows and columns) where data.voxel_mm "
        "is 1 x 1 x 1. Resample it to data.voxel_mm, or set --config.data.voxel_mm=2,0.5,0.5 if all cases have this "
        "size.",
    ),
    Odd(
        "head moved over the edge of the volume",
        WARNED,
        array(lambda a: np.concatenate([0 * a[:8], a[:8]]), *BRATS_2018),
        "Case a, a_t1.nii.gz: the volume ends within the head (left side), and the part beyond is lost. Export, "
        "register or resample the images again, with the whole head in the volume.",
        same=False,
    ),
    Odd(
        "all volumes turned by 30 degrees",
        WARNED,
        affine(turned(30), *BRATS_2018),
        "Case a, a_t1.nii.gz: its axes are turned by 30 degrees against the patient's. Resample it to axial slices.",
    ),
    Odd("one volume turned by 5 degrees", REFUSED, affine(turned(5)), OTHER_AFFINE),
    Odd("affines that differ by a millionth", READ, affine(moved(1e-6))),
    Odd(
        "affines that differ by a fifth of a voxel",
        WARNED,
        affine(moved(0.2)),
        "Case a, a_t2.nii.gz: its affine differs a little from that of a_t1.nii.gz, by up to 0.20 voxels.",
    ),
    Odd("affines that differ by half a voxel", REFUSED, affine(moved(0.5)), OTHER_AFFINE),
    Odd("other voxel size", REFUSED, affine(lambda m: m @ np.diag([1, 1, 1.5, 1])), OTHER_AFFINE),
    Odd(
        "the first modality is the one that lies elsewhere",
        REFUSED,
        affine(moved(3), "t1"),
        "Case a, a_t1.nii.gz: its affine differs from that of a_t2.nii.gz, by up to 3.0 voxels.",
    ),
    Odd(
        "affine without inverse",
        REFUSED,
        header(lambda h: (h.set_qform(None, 0), h.set_sform(np.diag([0.0, 1, 1, 1]), 1))),
        "Case a, a_t2.nii.gz: its affine gives no orientation. Repair the header (sform or qform).",
    ),
    Odd(
        "affine with NaN",
        REFUSED,
        header_field(sform_code=1, qform_code=0, srow_x=[np.nan] * 4),
        "Case a, a_t2.nii.gz: its affine gives no orientation. Repair the header (sform or qform).",
    ),
    Odd(
        "sform and qform disagree",
        WARNED,
        header(lambda h: (h.set_sform(LPS_AFFINE, 1), h.set_qform(moved(9)(LPS_AFFINE), 1))),
        "Case a, a_t2.nii.gz: its sform and qform disagree; the sform is used.",
    ),
    Odd("no sform, only a qform", READ, header(lambda h: (h.set_sform(None, 0), h.set_qform(LPS_AFFINE, 1)))),
    Odd(
        "one volume with neither sform nor qform",
        REFUSED,
        header(lambda h: (h.set_sform(None, 0), h.set_qform(None, 0))),
        OTHER_AFFINE,
    ),
    Odd(
        "all volumes with neither sform nor qform",
        WARNED,
        header(lambda h: (h.set_sform(None, 0), h.set_qform(None, 0)), *BRATS_2018),
        "Case a, a_t1.nii.gz: its header gives no orientation (the codes of sform and qform are 0). Its axes are "
        "assumed to point left, front and up",
        same=False,
    ),
)

VALUES = (
    Odd("a NaN in the head", REFUSED, array(with_voxel(np.nan)), "Case a, a_t2.nii.gz: 1 voxels are NaN or infinite."),
    Odd("an infinity", REFUSED, array(with_voxel(np.inf)), "Case a, a_t2.nii.gz: 1 voxels are NaN or infinite."),
    Odd(
        "NaN outside the head",
        WARNED,
        array(lambda a: np.where(a, a, np.nan).astype(np.float32)),
        "Case a, a_t2.nii.gz: its background is NaN. NaN counts as background; check that there is none inside.",
    ),
    Odd(
        "nothing but NaN",
        REFUSED,
        array(lambda a: np.full(a.shape, np.nan, np.float32)),
        "Case a, a_t2.nii.gz: … voxels are NaN or infinite.",
    ),
    Odd(
        "negative values",
        WARNED,
        array(lambda a: np.where(a, a - 50.5, 0).astype(np.float32)),
        "Case a, a_t2.nii.gz: its values are negative (from …). They are scaled like others",
    ),
    Odd(
        "the same value everywhere", REFUSED, array(lambda a: 0 * a + 7), "Case a, a_t2.nii.gz: the volume is constant."
    ),
    Odd("0 everywhere", REFUSED, array(lambda a: 0 * a), "Case a, a_t2.nii.gz: the volume is constant."),
    Odd(
        "a mask in place of an image",
        REFUSED,
        array(lambda a: (a > 0).astype(np.uint8)),
        "Case a, a_t2.nii.gz: the volume has no contrast",
    ),
    Odd(
        "values too large for single precision",
        REFUSED,
        array(lambda a: a * 1e300),
        "Case a, a_t2.nii.gz: … voxels are NaN or infinite.",
    ),
    Odd(
        "values that reach from end to end of single precision",
        REFUSED,
        array(lambda a: np.where(a, (a - 45) * 8e36, 0).astype(np.float32)),
        "Case a, a_t2.nii.gz: the values of the volume span too large a range",
    ),
    Odd("intensities from 0 to 32767", READ, array(lambda a: (a * (32767 / a.max())).astype(np.int16))),
    Odd("stored with a slope and an intercept", READ, scaled_store(0.5, -10)),
    Odd("stored with a negative slope", READ, scaled_store(-1, 200)),
    Odd("stored in 8 bits", READ, packed_as(np.uint8)),
    Odd("stored in double precision", READ, packed_as(np.float64)),
    Odd("stored with the other order of bytes", READ, image(big_endian, "t2", "label")),
    Odd("complex voxels", REFUSED, packed_as(np.complex64), "Case a, a_t2.nii.gz: its voxels are of type complex64."),
    Odd(
        "colours",
        REFUSED,
        array(lambda a: np.zeros(a.shape, [(c, "u1") for c in "RGB"])),
        "Case a, a_t2.nii.gz: its voxels are of type …. Convert it to integers or floats.",
    ),
    Odd(
        "half of the head is missing in one modality",
        WARNED,
        array(half_missing),
        "Case a, a_t2.nii.gz: it shows only 50% of the head that the modalities show together.",
        same=False,
    ),
    Odd(
        "background that is not constant",
        WARNED,
        array(lambda a: (a + np.arange(a.size).reshape(a.shape)).astype(np.int32)),
        "Case a, a_t2.nii.gz: its background is not constant (…% of the voxels on its sides differ from …), so air "
        "counts as head, as in scans without skull stripping. Strip the skull and set everything outside the brain to "
        "0.",
        same=False,
    ),
    Odd(
        "noise in half of the air",
        WARNED,
        array(with_noise),
        "Case a, a_t2.nii.gz: its background is not constant (…% of the voxels on its sides differ from 0), so air "
        "counts as head",
        same=False,
    ),
    Odd(
        "values of 0.0001 around the head, as splines leave them",
        WARNED,
        array(with_ringing),
        "Case a, a_t2.nii.gz: …% of the voxels that count as head lie within … of the background 0, as spline "
        "resampling leaves them around a head. Mask everything outside the head with 0, or resample the original image "
        "linearly.",
        same=False,
    ),
    Odd(
        "one modality under the name of another as well",
        WARNED,
        copied("a_t1.nii.gz"),
        "Case a, a_t2.nii.gz: modality t2 has the same voxels as t1. Give each modality its own image.",
        same=False,
    ),
    Odd("two modalities exchanged", UNNOTICED, swapped, same=False),
)

LABELS = (
    Odd("whole numbers stored as floats", READ, packed_as(np.float32, "label")),
    Odd("a value between two classes", REFUSED, array(with_voxel(1.5), "label"), NOT_WHOLE),
    Odd("a negative value", REFUSED, array(with_voxel(-1), "label"), f"{UNKNOWN_VALUE}Repair the label."),
    Odd("a NaN", REFUSED, array(with_voxel(np.nan), "label"), "Case a, a_seg.nii.gz: 1 voxels are NaN or infinite."),
    Odd(
        "a value that is off by rounding",
        WARNED,
        array(lambda a: np.where(a == 4, np.float32(3.9999995), a), "label"),
        "Case a, a_seg.nii.gz: its values are rounded to whole numbers, 3.9999995 to 4 for one. Store the label as "
        "integers.",
    ),
    Odd(
        "floats that are packed into 16 bits with a slope",
        WARNED,
        packed_with_slope(np.int16, "label"),
        "Case a, a_seg.nii.gz: its values are rounded to whole numbers, … to … for one.",
    ),
    Odd("floats that are packed into 8 bits with a slope", REFUSED, packed_with_slope(np.uint8, "label"), NOT_WHOLE),
    Odd(
        "3, which this release does not have",
        REFUSED,
        array(with_voxel(3), "label"),
        f"{UNKNOWN_VALUE}Repair the label, or name its numbering: --release=brats2024-glioma (1 necrotic core, "
        "2 oedema, 3 enhancing tumour, 4 resection cavity) or …",
    ),
    Odd(
        "4 under the file names of BraTS 2023",
        REFUSED,
        as_release_of_2023,
        "Case a, a-seg.nii.gz: unknown label value 4; brats2023 has 0, 1, 2, 3. Repair the label, or name its "
        "numbering: --release=brats2017-2021 (1 necrotic core, 2 oedema, 4 enhancing tumour) or …",
    ),
    Odd("an image in place of the label", REFUSED, copied("a_seg.nii.gz"), f"{UNKNOWN_VALUE}Repair the label."),
    Odd(
        "lesion outside the head",
        WARNED,
        array(lambda a: np.roll(a, 8, axis=1), "label"),
        "Case a, a_seg.nii.gz: …% of the lesion lies outside the head. Check that label and images match.",
        same=False,
    ),
    Odd(
        "empty",
        WARNED,
        array(lambda a: 0 * a, "label"),
        "Case a, a_seg.nii.gz: the label is empty. Check that this patient has no lesion.",
        same=False,
    ),
    Odd("four dimensions, one frame", READ, array(lambda a: a[..., None], "label")),
    Odd(
        "one channel for each class",
        REFUSED,
        array(lambda a: (a[..., None] == np.arange(5)).astype(np.uint8), "label"),
        "Case a, a_seg.nii.gz: it has 4 dimensions (shape …) where 3 are expected.",
    ),
    Odd(
        "other shape than the images",
        REFUSED,
        array(lambda a: a[1:], "label"),
        "Case a, a_seg.nii.gz: its shape … differs from … of a_t1.nii.gz",
    ),
    Odd(
        "in another place than the images",
        REFUSED,
        affine(moved(2), "label"),
        "Case a, a_seg.nii.gz: its affine differs from that of a_t1.nii.gz, by up to 2.0 voxels.",
    ),
)
