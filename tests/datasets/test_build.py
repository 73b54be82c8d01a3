import json
import re
import shlex

import nibabel
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.fakes import programs
from tests.fakes.fakes_cases import LPS_AFFINE, volumes, write_nifti_case

SIZE = [
    f"--config.data.{setting}"
    for setting in (
        "slices=1,5,1",
        "crop_rows=0,20",
        "crop_columns=0,16",
        "image_size=10,8",
        "test_fraction=0.5",
        "validation_fraction=0",
    )
]

# The flags of each source, with a value: the default where there is one.
FLAGS_OF = {
    "cases": {
        "input": "cases",
        "release": "custom",
        "allow_incomplete": "false",
        "fold": "0",
        "check": "false",
        "train_patients": "2",
    },
    "phantom": {"num_cases": "20", "cases_dir": "cases"},
    "synthetic": {"workdir": "runs", "labels_from": "data", "count": "1000", "num_workers": "1", "worker": "0"},
    "pasted": {"labels_from": "data", "count": "1000", "num_workers": "1", "worker": "0"},
    "painted": {"labels_from": "data", "count": "1000", "num_workers": "1", "worker": "0"},
}


def run(*arguments, command=("datasets/build.py",)):
    return programs.run(*command, *arguments)


@pytest.fixture
def cases_dir(tmp_path):
    for case_id in ("a", "b"):
        arrays = volumes()
        arrays["t1"] *= 1 + (case_id == "b")
        write_nifti_case(tmp_path / "cases", case_id, arrays)
    return tmp_path / "cases"


def assert_one_clear_error(result, *words):
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


def test_help_lists_flags_by_source():
    result = run("--help")
    headings = [f"flags of --source={source}:" for source in FLAGS_OF]
    groups = re.split("|".join([*headings, "datasets/build.py:\n"]), result.stdout)[-len(FLAGS_OF) - 1 :]
    listed = [re.findall(r"^  --(?:\[no\])?(\w+):", group, re.MULTILINE) for group in groups]
    assert listed[-1] == ["beam_options", "output", "overwrite", "preset", "source"]
    assert listed[:-1] == [sorted(values) for values in FLAGS_OF.values()]


def test_builds_as_module(cases_dir, tmp_path):
    arrays = volumes()
    write_nifti_case(cases_dir, "b", {"label": 0 * arrays["label"]})
    arguments = ["--source=cases", f"--input={cases_dir}", f"--output={tmp_path / 'out'}", *SIZE]
    result = run(*arguments, command=("-m", "datasets.build"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "data_set.json").exists()
    assert "Case b, b_seg.nii.gz: the label is empty" in result.stderr


def test_builds_pasted_lesions_from_a_prepared_set(prepared_data, tmp_path):
    result = run(
        "--source=pasted", f"--labels_from={prepared_data.path}", f"--output={tmp_path / 'out'}", "--count=5",
        "--config.generation.batch_size=1", "--config.runtime.seed=3",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "out" / "data_set.json").read_text())
    assert (record["generation"]["seed"], len(record["split"]["train"])) == (3, 5)
    assert not (tmp_path / "out.blocks").exists()
    builder = tfds.builder_from_directory(str(tmp_path / "out"))
    training = set(prepared_data.cases["train"])
    for example in tfds.as_numpy(builder.as_dataset(split="train")):
        for name in ("label_source", "anatomy_source"):
            assert example[name].decode().rpartition(":")[0] in training


def test_a_number_of_training_patients_needs_a_fold(cases_dir, tmp_path):
    result = run("--source=cases", f"--input={cases_dir}", f"--output={tmp_path / 'out'}", "--train_patients=2", *SIZE)
    assert_one_clear_error(result, "--train_patients takes some of a fold's patients", "--fold")


def test_existing_output(cases_dir):
    result = run("--source=cases", f"--input={cases_dir}", f"--output={cases_dir}", *SIZE)
    assert_one_clear_error(result, "exists", "--overwrite")
    assert len(list(cases_dir.iterdir())) == 2


def test_check_prints_all_problems_and_writes_nothing(cases_dir, tmp_path):
    (cases_dir / "a" / "a_t2.nii.gz").unlink()
    (cases_dir / "b" / "b_flair.nii.gz").write_bytes(b"junk")
    write_nifti_case(cases_dir, "c", {"label": volumes()["label"]})
    result = run("--source=cases", f"--input={cases_dir}", "--check", *SIZE)
    assert result.returncode == 1
    rows = result.stdout.splitlines()
    assert [row.split()[:3] for row in rows if row.startswith("ERROR")] == [
        ["ERROR", "a", "a_t2.nii.gz"],
        ["ERROR", "b", "b_flair.nii.gz"],
    ]
    assert [row.split()[:3] for row in rows if row.startswith("warning")] == [["warning", "c", "c_seg.nii.gz"]]
    assert rows[-1] == "2 cases of 2 patients, 2 errors, 1 warnings."
    assert [path.name for path in tmp_path.iterdir()] == ["cases"]


def test_check_of_good_cases(cases_dir):
    result = run("--source=cases", f"--input={cases_dir}", "--check", *SIZE)
    assert (result.returncode, result.stdout) == (0, "2 cases of 2 patients, 0 errors, 0 warnings.\n")


NARROW = [*SIZE, "--config.data.crop_columns=0,12"]


def test_check_tells_once_that_pixels_are_not_square(cases_dir):
    # 12 of the 16 columns still hold the lesions, but not the head's last column.
    result = run("--source=cases", f"--input={cases_dir}", "--check", *NARROW)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("pixels are not square after cropping: 2 mm between rows and 1.5 mm") == 1
    assert result.stdout.count("the crop (rows 0 to 20, columns 0 to 12) cuts off 10% of the head") == 2


def test_build_tells_once_that_pixels_are_not_square(cases_dir, tmp_path):
    result = run("--source=cases", f"--input={cases_dir}", f"--output={tmp_path / 'out'}", *NARROW)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("pixels are not square after cropping") == 1
    assert result.stderr.count("cuts off 10% of the head") == 2


def test_broken_case_is_one_clear_error(cases_dir, tmp_path):
    (cases_dir / "a" / "a_seg.nii.gz").unlink()
    result = run("--source=cases", f"--input={cases_dir}", f"--output={tmp_path / 'out'}", *SIZE)
    assert_one_clear_error(result, "Case a, a_seg.nii.gz: the label is missing", "--allow_incomplete")
    assert [path.name for path in tmp_path.iterdir()] == ["cases"]


def test_empty_input_and_missing_flags(tmp_path):
    assert_one_clear_error(run("--source=cases", f"--input={tmp_path}", "--check"), "No case found", "t1.nii.gz")
    assert_one_clear_error(run("--source=cases", "--check"), "--input")


# Builds every combination of a source and one more flag in one process, and prints the errors.
COMBINATIONS = """
import json, sys
from absl import flags
from absl.testing import flagsaver
from datasets import build
from mmsynth_tf.errors import UserError

for source, argument in json.loads(sys.argv[1]):
    with flagsaver.flagsaver():
        flags.FLAGS(["build.py", f"--source={source}", "--output=unused", argument])
        try:
            build.main(["build.py"])
        except UserError as error:
            print(error)
"""


def test_a_flag_of_another_source_is_refused_also_with_its_default():
    owners = {name: [other for other, of in FLAGS_OF.items() if name in of] for v in FLAGS_OF.values() for name in v}
    foreign = [
        (source, f"--{name}={value}", " or ".join(owners[name]))
        for source, own in FLAGS_OF.items()
        for values in FLAGS_OF.values()
        for name, value in values.items()
        if name not in own
    ]
    result = run(json.dumps([pair[:2] for pair in foreign]), command=("-c", COMBINATIONS))
    assert result.stdout.splitlines() == [
        f"--source={source} does not take {argument.partition('=')[0]} (a flag of --source={other}). Leave it out, or "
        "choose the other source."
        for source, argument, other in foreign
    ], result.stderr


def test_all_flags_of_other_sources_are_named_at_once(tmp_path):
    result = run("--source=phantom", f"--output={tmp_path / 'out'}", "--count=5", "--check")
    foreign = "--check (a flag of --source=cases), --count (a flag of --source=synthetic or pasted or painted)"
    assert_one_clear_error(result, f"--source=phantom does not take {foreign}")
    assert not list(tmp_path.iterdir())


def test_workers_that_do_not_fit_are_refused(tmp_path):
    shared = ["--source=synthetic", f"--output={tmp_path / 'out'}", "--workdir=runs", "--labels_from=data"]
    assert_one_clear_error(run(*shared, "--worker=2", "--num_workers=2"), "--worker=2 must be below --num_workers=2")
    assert_one_clear_error(run(*shared, "--num_workers=2"), "--num_workers needs --worker", "Leave both out")


def write_nnunet(folder, case_id, arrays):
    """The first and the last modality of a case as channels 0 and 1, and the label."""
    for name, path in {"t1": "imagesTr/{}_0000", "flair": "imagesTr/{}_0001", "label": "labelsTr/{}"}.items():
        file = folder / f"{path.format(case_id)}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(arrays[name], LPS_AFFINE), file)


def test_what_is_advised_for_the_layout_of_nnunet_leads_to_the_right_set(tmp_path):
    folder, output, arrays = tmp_path / "raw", tmp_path / "out", volumes((1, 2, 3))
    for case_id in ("a", "b"):
        write_nnunet(folder, case_id, arrays | {"t1": arrays["t1"] * (1 + (case_id == "b"))})
    labels = {"background": 0, "whole tumour": [1, 2, 3], "core": [2, 3], "rim": 3}
    description = {"channel_names": {"0": "CT", "1": "PET (SUV)"}, "labels": labels}
    (folder / "dataset.json").write_text(json.dumps(description))
    command = ["--source=cases", f"--input={folder}", f"--output={output}", *SIZE]
    refusal = run(*command)
    assert_one_clear_error(refusal, "nnU-Net's raw layout")

    renames = re.findall(r"(\w+) to (\w+)(?:,| and so on)", refusal.stderr)
    assert renames == [("a_0000", "a_CT"), ("a_0001", "a_PETSUV")]
    for old, new in [*renames, *((f"b{old[1:]}", f"b{new[1:]}") for old, new in renames)]:
        (folder / "imagesTr" / f"{old}.nii.gz").rename(folder / "imagesTr" / f"{new}.nii.gz")
    for case_id in ("a", "b"):
        label = folder / "labelsTr" / f"{case_id}.nii.gz"
        label.rename(folder / "imagesTr" / f"{case_id}_seg.nii.gz")
    settings = refusal.stderr[refusal.stderr.index("--config.data.modalities") :].strip().removesuffix(".")
    result = run(*command, "--release=custom", *shlex.split(settings))
    assert result.returncode == 0, result.stderr

    record = json.loads((output / "data_set.json").read_text())
    assert record["release"] == "custom"
    assert record["data"]["modalities"] == ["CT", "PETSUV"]
    assert record["data"]["labels"] == ["background", "class_1", "class_2", "rim"]
    assert record["data"]["regions"] == {"whole_tumour": [1, 2, 3], "core": [2, 3], "rim": [3]}
    for split in ("train", "test"):
        for example in tfds.as_numpy(tfds.builder_from_directory(str(output)).as_dataset(split=split)):
            plane = arrays["label"][:, :, example["slice_index"]]
            assert set(np.unique(example["label"])) == set(np.unique(plane))
            # The channels of the fakes differ in their slope from front to back alone.
            assert np.ptp(example["image"]["PETSUV"][2:8, 4]) > np.ptp(example["image"]["CT"][2:8, 4])


def test_unwritable_output(cases_dir, tmp_path):
    (tmp_path / "file").touch()
    result = run("--source=cases", f"--input={cases_dir}", f"--output={tmp_path / 'file' / 'out'}", *SIZE)
    assert_one_clear_error(result, "Cannot write", "--output")


def test_a_synthetic_build_ends_with_what_the_paper_requires_and_what_was_reached(tmp_path):
    script = (
        "from datasets import build\n"
        "from mmsynth_tf import program\n"
        "from tests.datasets.test_synthetic_builder import Generation\n"
        "build._make_generation = lambda: Generation\n"
        "program.run(build.main)"
    )
    result = run("--source=synthetic", f"--output={tmp_path / 'made'}", "--count=6", command=("-c", script))
    requirement, closing = result.stdout.splitlines()[-2:]
    assert "at least 0.99 for a finished set: not reached (0.500)" in requirement
    assert "keeps samples with a mean Dice of at least 0.9; the paper's threshold is 0.95" in requirement
    assert closing == f"Prepared data set: {tmp_path / 'made'}"
