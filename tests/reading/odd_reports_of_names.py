"""Public reports of names, folders and patients, each run against the readers."""

from tests.reading import odd_report_mutators as mutators
from tests.reading.odd_case import Odd, Outcome
from tests.reading.odd_report import Report

READ, WARNED, REFUSED, _ = Outcome

FURTHER = "there are further files for label, t1, t2, t1c, flair in …. Remove one of each, or rename one of two cases."

NAMES = (
    Report(
        "MIC-DKFZ/nnDetection/issues/40",
        "All cases vanish if the path of the data holds _seg.",
        Odd("a folder Task504_segmwithmodalities", READ, mutators.in_folder("Task504_segmwithmodalities")),
    ),
    Report(
        "TomographicImaging/CIL/issues/1207",
        "Brackets in the name of a folder are taken for a pattern, and its files are not found.",
        Odd("a folder `scan [1]`", READ, mutators.in_folder("scan [1]")),
    ),
    Report(
        "SimpleITK/SimpleITK/issues/651",
        "Files with Chinese letters in their path do not exist for the reader (there, on Windows).",
        Odd("MetaImages in a folder 肺结节 (on Linux)", READ, mutators.as_metaimages("肺结节")),
        needs_itk=True,
    ),
    Report(
        "pauldmccarthy/fsleyes/issues/68",
        "Links are resolved before the name is read, which then is a key of git-annex.",
        Odd("each file a link to a key", READ, mutators.as_links_to_keys),
    ),
    Report(
        "bids-standard/pybids/issues/631",
        "A link to nothing under a sidecar's name stops the reading of all data.",
        Odd("such a link a_t1.json", READ, mutators.with_dangling_sidecar),
    ),
    Report(
        "OpenNeuroOrg/openneuro/issues/2519",
        "Files that macOS adds beside others get into data sets.",
        Odd("a folder __MACOSX with them", READ, mutators.with_resource_forks),
    ),
    Report(
        "CBICA/CaPTk/issues/907",
        "Patients with a misnamed file are left out without a word.",
        Odd(
            "a_flair_1.nii.gz for a_flair.nii.gz",
            REFUSED,
            mutators.misnamed,
            "Case a, a_flair_1.nii.gz: not used, because no modality or label has this name.",
        ),
    ),
)

PATIENTS = (
    Report(
        "ljwztc/CLIP-Driven-Universal-Model/issues/63",
        "Cases stand in both the list for training and that for testing.",
        Odd("a case in the folders train and test", REFUSED, mutators.in_train_and_test, FURTHER),
    ),
    Report(
        "mlcommons/GaNDLF/pull/559",
        "Subjects of one name cannot be told apart when a model is applied.",
        Odd("cases of one name in the folders of two sites", REFUSED, mutators.with_case_of_other_site, FURTHER),
    ),
    Report(
        "UCSD-AI4H/COVID-CT/issues/11",
        "Images of one patient are in training, validation and test data.",
        Odd("Brats18_P23_1 and brats18_p23_2, which get one patient", READ, mutators.with_second_scan),
        patients=dict.fromkeys(("Brats18_P23_1", "brats18_p23_2"), "Brats18_P23"),
    ),
    Report(
        "cwatson/brainGraph/issues/13",
        "Names of numbers alone lose their leading zeros when a table is read.",
        Odd("case 0506 of patient 012 in patients.csv", READ, mutators.listed("case,patient\n0506,012\n")),
        patients={"0506": "012"},
    ),
    Report(
        "nipoppy/nipoppy/issues/494",
        "Leading zeros are missing in a table, probably since a spreadsheet saved it.",
        Odd(
            "case 0506 as 506 in patients.csv",
            REFUSED,
            mutators.listed("case,patient\n506,12\n"),
            "…patients.csv lacks 1 of 1 cases (0506). Add a row for each, or remove the file.",
        ),
    ),
    Report(
        "aces/Loris-MRI/pull/604",
        "The first column of a table is not found, for the file begins with a byte order mark.",
        Odd(
            "patients.csv with that mark and lines that end as on Windows",
            READ,
            mutators.listed("case,patient\r\n0506,012\r\n", "utf-8-sig"),
        ),
        patients={"0506": "012"},
    ),
)
