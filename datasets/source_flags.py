"""The flags of `datasets/build.py` that belong to one source of slices, by source."""

from absl import flags

from mmsynth_tf import constants
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.release_table import RELEASES
from mmsynth_tf.reading.splits import FOLDS

flags.disclaim_key_flags()  # --help lists them by source: see `help_text`.

CASES, PHANTOM, SYNTHETIC = "cases", "phantom", "synthetic"
PASTED, PAINTED = constants.PASTED, constants.PAINTED

INPUT = path_flags.define_path("input", None, "Folder that holds the cases, at any depth.")
RELEASE = flags.DEFINE_string(
    "release", None, f"One of {', '.join(RELEASES)}; found from the file and case names if not given."
)
ALLOW_INCOMPLETE = flags.DEFINE_bool("allow_incomplete", False, "Use cases that lack modalities or the label.")
FOLD = flags.DEFINE_integer(
    "fold",
    None,
    f"Test on the patients of this fold of segmentation_gain (0 to {FOLDS - 1}), instead of a random split.",
    lower_bound=0,
    upper_bound=FOLDS - 1,
)
TRAIN_PATIENTS = flags.DEFINE_integer(
    "train_patients",
    None,
    "With --fold: number of training patients, drawn as by --experiment=curve; the others are left out.",
    lower_bound=1,
)
CHECK = flags.DEFINE_bool("check", False, "Only read all cases and print a table of their problems; write nothing.")

NUM_CASES = flags.DEFINE_integer("num_cases", 20, "Number of patients.", lower_bound=1)
CASES_DIR = path_flags.define_path(
    "cases_dir", None, "Folder for the NIfTI files of the patients; <output>/cases if not given."
)

WORKDIR = path_flags.define_path("workdir", None, "Work directory of the trained stages.")
LABELS_FROM = path_flags.define_path(
    "labels_from",
    None,
    "Prepared data set of real patients. Its training split gives the labels, for pasted and painted also slices.",
)
COUNT = flags.DEFINE_integer("count", 1000, "Number of slices to generate.", lower_bound=1)
NUM_WORKERS = flags.DEFINE_integer("num_workers", 1, "Number of workers that share the build.", lower_bound=1)
WORKER = flags.DEFINE_integer(
    "worker", None, "Generate only the share of this worker; workers count from 0.", lower_bound=0
)

BY_SOURCE = {
    CASES: (INPUT, RELEASE, ALLOW_INCOMPLETE, FOLD, TRAIN_PATIENTS, CHECK),
    PHANTOM: (NUM_CASES, CASES_DIR),
    SYNTHETIC: (WORKDIR, LABELS_FROM, COUNT, NUM_WORKERS, WORKER),
    PASTED: (LABELS_FROM, COUNT, NUM_WORKERS, WORKER),
    PAINTED: (LABELS_FROM, COUNT, NUM_WORKERS, WORKER),
}


def help_text() -> str:
    """Help on the flags of each source, in the format of absl."""
    for source, holders in BY_SOURCE.items():
        for holder in holders:
            flags.FLAGS.register_key_flag_for_module(_heading(source), flags.FLAGS[holder.name])
    return "".join(f"{flags.FLAGS.module_help(_heading(source))}\n" for source in BY_SOURCE)


def _heading(source: str) -> str:
    return f"flags of --source={source}"


def refuse_others(source: str) -> None:
    """Refuses command-line flags that belong to another source, even if they have their default values.

    Raises:
      UserError: a flag belongs to another source.
    """
    own = {holder.name for holder in BY_SOURCE[source]}
    sources: dict[str, list[str]] = {}
    for other, holders in BY_SOURCE.items():
        for holder in holders:
            if holder.name not in own and flags.FLAGS[holder.name].present:
                sources.setdefault(holder.name, []).append(other)
    if sources:
        listed = ", ".join(f"--{name} (a flag of --source={' or '.join(of)})" for name, of in sources.items())
        raise UserError(f"--source={source} does not take {listed}. Leave it out, or choose the other source.")
