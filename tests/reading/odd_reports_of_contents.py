"""Public reports of what is inside the files, each run against the readers."""

import nibabel
import numpy as np

from tests.fakes.fakes_cases import BRATS_2018, LPS_AFFINE
from tests.reading import odd_report_mutators as mutators
from tests.reading.odd_case import Odd, Outcome
from tests.reading.odd_mutators import (
    affine,
    array,
    content,
    header,
    header_field,
    image,
    moved,
    reoriented,
    scaled_store,
)
from tests.reading.odd_names import case_renamed
from tests.reading.odd_report import (
    Report,
    classes_of_decathlon,
    only_enhancing_tumour,
    same_images,
)

READ, WARNED, REFUSED, _ = Outcome

UNKNOWN = "Case a, a_seg.nii.gz: unknown label value …; brats2017-2021 has 0, 1, 2, 4"
DAMAGED = "Case a, a_t2.nii.gz: the file is damaged or cut off (…). Copy or download it again."

LABELS = (
    Report(
        "MIC-DKFZ/nnUNet/issues/1777",
        "Masks exported as pictures hold 255 where class 1 is meant.",
        Odd("label value 255 for 1", REFUSED, mutators.label_value(1, 255, np.uint8), UNKNOWN.replace("…", "255")),
    ),
    Report(
        "nipy/nibabel/issues/1344",
        "A label loaded as floats and saved as integers gets a slope, and comes back a little off whole numbers.",
        Odd("label of one class, loaded and saved so", READ, mutators.binary_label_saved_as_floats),
        only_enhancing_tumour,
    ),
    Report(
        "nipreps/petprep/issues/152",
        "Label values a little below a whole number are cut to the next lower one, which is another region.",
        Odd("label value 3.98 for 4", REFUSED, mutators.label_value(4, 3.98, np.float32), UNKNOWN.replace("…", "3.98")),
    ),
    Report(
        "TorchIO-project/torchio/issues/220",
        "Classes of an atlas come as 0.9882, 2.0235 and so on, and are no longer whole numbers.",
        Odd("label in 8 bits under a slope of 12/255", REFUSED, mutators.label_under_slope(12 / 255), UNKNOWN),
    ),
    Report(
        "nilearn/nilearn/issues/6447",
        "Labels are cast to 8 bits, so that region 256 becomes background and others get each other's numbers.",
        Odd("label value 260 for 4", REFUSED, mutators.label_value(4, 260, np.int16), UNKNOWN.replace("…", "260")),
    ),
    Report(
        "CBICA/CaPTk/issues/305",
        "Resampling a label linearly puts class 3 between 2 and 4.",
        Odd(
            "a voxel of 3 between 2 and 4",
            REFUSED,
            array(mutators.with_mean_of_two_classes, "label"),
            UNKNOWN.replace("…", "3"),
        ),
    ),
    Report(
        "MIC-DKFZ/nnUNet/issues/1183",
        "Value 4 of BraTS 2020 is not among the classes that are expected.",
        Odd("a case named as in BraTS 2020 with 1, 2 and 4", READ, case_renamed("BraTS20_Training_001")),
    ),
    Report(
        "Project-MONAI/MONAI/pull/8779",
        "Enhancing tumour is looked for under 4, so that cases of BraTS 2023, which have 3, seem to have none.",
        Odd("file names of BraTS 2023, and 3 for 4", READ, mutators.with_enhancing_tumour_as_3),
    ),
    Report(
        "Project-MONAI/tutorials/issues/1355",
        "Of the Decathlon's brain tumours, 2 and 3 are taken for each other.",
        Odd("a case of the Decathlon", READ, mutators.as_decathlon),
        classes_of_decathlon,
    ),
    Report(
        "MIC-DKFZ/nnUNet/issues/2201",
        "Two conversions put the modalities on channels in different orders, and a model gets the wrong ones.",
        Odd("a stack in the order of the Decathlon", READ, mutators.as_decathlon),
        same_images,
    ),
)

GEOMETRY = (
    Report(
        "TorchIO-project/torchio/issues/430",
        "Two images of one space are refused after reorientation, for their affines differ by rounding.",
        Odd(
            "one image reoriented, its affine off by 0.00001",
            READ,
            image(
                lambda i: nibabel.Nifti1Image(
                    np.asarray(i.dataobj)[::-1], i.affine @ [[-1, 0, 0, 15], *np.eye(4)[1:]] + 1e-5 * np.eye(4, k=3)
                )
            ),
        ),
    ),
    Report(
        "TorchIO-project/torchio/issues/567",
        "A coregistration changed the sform alone, and programs that read the qform do not see it.",
        Odd(
            "one image whose sform is moved by 3 mm, not its qform",
            REFUSED,
            header(lambda h: (h.set_qform(LPS_AFFINE, 1), h.set_sform(moved(3)(LPS_AFFINE), 2))),
            "Case a, a_t2.nii.gz: its affine differs from that of a_t1.nii.gz, by up to 3.0 voxels.",
        ),
    ),
    Report(
        "TorchIO-project/torchio/issues/860",
        "A label lost its origin, and lies elsewhere than its image.",
        Odd(
            "label with origin 0, 0, 0",
            REFUSED,
            affine(mutators.at_origin, "label"),
            "Case a, a_seg.nii.gz: its affine differs from that of a_t1.nii.gz, by up to 19.0 voxels.",
        ),
    ),
    Report(
        "wasserth/TotalSegmentator/issues/13",
        "A segmentation comes with a slightly other voxel size than its image.",
        Odd(
            "label with voxels of 0.9984 and 0.999 mm for 1 mm",
            WARNED,
            affine(lambda m: m @ np.diag([1, 0.9984, 0.999, 1]), "label"),
            "Case a, a_seg.nii.gz: its affine differs a little from that of a_t1.nii.gz, by up to 0.03 voxels.",
        ),
    ),
    Report(
        "wasserth/TotalSegmentator/issues/509",
        "Organs are mislabelled if axes run otherwise than the model was trained with, whatever the header says.",
        Odd("the whole case stored in RAS order", READ, reoriented("RAS", *BRATS_2018)),
    ),
    Report(
        "MIC-DKFZ/nnUNet/issues/756",
        "Files are refused whose axes meet at angles a little off 90 degrees.",
        Odd("a case with axes off by 0.1 degrees", READ, affine(mutators.sheared, *BRATS_2018)),
    ),
    Report(
        "freesurfer/surfa/issues/4",
        "The factor of the qform is always written as 1, which turns images upside down for programs that read it.",
        Odd(
            "left-handed axes, the factor 1, and the right sform",
            WARNED,
            mutators.with_factor_of_qform,
            "Case a, a_t2.nii.gz: its sform and qform disagree; the sform is used.",
        ),
    ),
    Report(
        "nipy/nibabel/issues/522",
        "Left and right are told from a qform that the header declares void.",
        Odd(
            "another qform with code 0",
            READ,
            header_field(qform_code=0, quatern_b=0.5, quatern_c=0.5, quatern_d=0.5),
        ),
    ),
    Report(
        "MIC-DKFZ/HD-BET/issues/10",
        "A skull-stripped image has no sform any more, and does not fit the others for programs that need one.",
        Odd(
            "one image with a qform alone, the others with an sform alone",
            READ,
            header(lambda h: (h.set_sform(None, 0), h.set_qform(LPS_AFFINE, 1)), "t1"),
        ),
    ),
    Report(
        "nipreps/fmriprep/issues/786",
        "Voxel sizes are taken for millimetres where the header gives another unit.",
        Odd(
            "one image in micrometres",
            REFUSED,
            image(mutators.in_micrometres),
            "Case a, a_t2.nii.gz: its affine differs from that of a_t1.nii.gz, by up to … voxels.",
        ),
    ),
)

FILES = (
    Report(
        "moloney/dcmstack/issues/49",
        "The brightest voxels overflow 16 bits and become negative.",
        Odd(
            "an image whose brightest tenth does so",
            WARNED,
            array(mutators.overflown),
            "Case a, a_t2.nii.gz: its values are negative (from …).",
        ),
        holds=lambda valid, found: not same_images(valid, found),
    ),
    Report(
        "JuliaNeuroscience/NIfTI.jl/issues/14",
        "A slope of 0, which means that there is none, is multiplied with, and the image is gone.",
        Odd("slope 0 and intercept 7", READ, header_field(scl_slope=0, scl_inter=7)),
    ),
    Report(
        "SyneRBI/SIRF/issues/406",
        "Slope and intercept are left out, and intensities are wrong.",
        Odd("slope 0.5 and intercept -10, compared in the unit of the image", READ, scaled_store(0.5, -10)),
    ),
    Report(
        "afni/afni/issues/336",
        "Integers of 64 bits, in which Python saves labels, cannot be read.",
        Odd("a case in integers of 64 bits", READ, image(mutators.in_int64, *BRATS_2018)),
    ),
    Report(
        "pauldmccarthy/indexed_gzip/issues/69",
        "Zeros behind a gzip file, as tapes leave them, make it unreadable.",
        Odd("512 zeros behind an image", READ, content(lambda b: b + bytes(512))),
    ),
    Report(
        "neheller/kits19/issues/5",
        "Git without LFS leaves small texts under the names of images.",
        Odd(
            "such a text",
            REFUSED,
            mutators.text_instead("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"),
            DAMAGED,
        ),
    ),
    Report(
        "bids-standard/legacy-validator/issues/1050",
        "An unlocked file of git-annex that was not fetched is a regular file with a path in it.",
        Odd("such a file", REFUSED, mutators.text_instead("/annex/objects/MD5E-s12345--0.nii.gz\n"), DAMAGED),
    ),
    Report(
        "FirasGit/medicaldiffusion/issues/14",
        "Files ending in .nii, as Kaggle offers BraTS 2020, are not found.",
        Odd("a case with all files unpacked", READ, mutators.unpacked_files),
    ),
    Report(
        "UCL/STIR/issues/456",
        "A single slice passes for a volume, with 1 mm for the size it lacks.",
        Odd(
            "a MetaImage of one slice in place of an image",
            REFUSED,
            mutators.as_metaimages("b", mutators.one_slice_of_t2),
            "Case b, VSD.Brain.XX.O.MR_T2.1.mha: its shape is 16x20, which is no volume.",
        ),
        needs_itk=True,
    ),
)
