"""Flags that several jobs of `mmsynth` share, and the models that one of them names."""

from typing import TYPE_CHECKING

from absl import flags

from mmsynth_tf.configs import path_flags
from mmsynth_tf.reading import release_table

if TYPE_CHECKING:
    from mmsynth_tf.patients.slice_models import SliceModels

flags.disclaim_key_flags()  # The flags belong to the job that asks for them.


def define_models() -> None:
    path_flags.define_path(
        "models", None, "Folder with exported models, from python -m mmsynth_tf.export.", required=True
    )


def define_output(what: str) -> None:
    path_flags.define_path("output", None, what, required=True)
    flags.DEFINE_bool("overwrite", False, "Replace output that exists.")


def define_cases() -> None:
    path_flags.define_path("input", None, "Folder with cases at any depth, or one image file.", required=True)
    flags.DEFINE_string("modality", None, "Modality of a single file whose name does not tell it.")
    flags.DEFINE_string("release", None, "Release of the cases; found from the file names if not given.")
    flags.DEFINE_bool("resume", False, "Skip cases that are in --output already.")
    define_models()
    define_output("Output folder, with a subfolder for each case.")


def define_images(blur: float) -> None:
    flags.DEFINE_bool(
        "smooth", True, "Smooth the brightness across neighbouring slices, and with --blur also the detail."
    )
    flags.DEFINE_float(
        "blur", blur, "Sigma of the Gaussian across slices that --smooth uses, mm; 0 is none.", lower_bound=0.0
    )
    flags.DEFINE_integer(
        "largest",
        1,
        "Value of the brightest voxel. 1 writes float32 from 0 to 1; a larger value, such as 4095, writes int16.",
        lower_bound=1,
        upper_bound=32767,
    )


def define_label(required: bool) -> None:
    path_flags.define_path("label", None, "Label file, or folder with label files.", required=required)
    flags.DEFINE_string(
        "label_release", None, "Release that defines the values in --label; found from the file name if not given."
    )
    flags.DEFINE_integer("seed", 0, "Seed of all random choices.")


def define_label_values() -> None:
    flags.DEFINE_enum(
        "label_values",
        "canonical",
        ["canonical", *release_table.with_lesion_values()],
        "Release that defines the values of written labels; canonical: the numbers of the models' classes.",
    )


def load_models() -> "SliceModels":
    """The models that `--models` names."""
    from mmsynth_tf.patients.slice_models import SliceModels

    return SliceModels.load(flags.FLAGS.models)
