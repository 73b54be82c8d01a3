"""Measures how sure a segmenter must be before a translation draws a lesion (records/lesion_threshold.csv).

    python -m tools.studies.lesion_threshold --models=models/a --input=validation_cases/ --output=lesion_threshold.csv

The cases need labels and all modalities, and the models must not have been trained
on them. Lesions are searched as `mmsynth translate` does it without a label: in each
single modality, each pair, and all modalities but one. Each case, set of given
modalities and threshold gives a row: volumes of the true lesion, of what is drawn
falsely, and of what is not drawn, at the resolution of the models.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags

if TYPE_CHECKING:
    from mmsynth_tf.patients.slice_models import SliceModels
    from mmsynth_tf.reading.releases import CaseFiles
    from mmsynth_tf.storage.records import Record

_MODELS = path_flags.define_path(
    "models", None, "Folder with exported models, from python -m mmsynth_tf.export.", required=True
)
_INPUT = path_flags.define_path("input", None, "Folder with labelled cases of validation patients.", required=True)
_OUTPUT = path_flags.define_path("output", None, "CSV file to write.", required=True)

_THRESHOLDS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf.patients import files, slice_models
    from mmsynth_tf.storage import records

    models = slice_models.SliceModels.load(_MODELS.value)
    found = files.find(Path(_INPUT.value), models.data.modalities)
    records.write_csv(_OUTPUT.value, [row for case in found for row in measure(case, models)])


def measure(case: "CaseFiles", models: "SliceModels") -> Iterator["Record"]:
    """A record for each set of given modalities and each threshold."""
    from mmsynth_tf.experiments.translation.volumes import tasks
    from mmsynth_tf.metrics.segmentation import volume_errors
    from mmsynth_tf.patients import patient, translate

    one = patient.read(case, models.data, with_label=True)
    lesion = one.view.label_slices(one.case.label) > 0
    _, row_mm, column_mm = models.data.spacing_mm
    voxel_ml = one.slice_spacing * row_mm * column_mm / 1000.0
    for sources in dict.fromkeys(sources for sources, _ in tasks(models.data.num_modalities)):
        names = [models.data.modalities[index] for index in sources]
        probabilities = translate.lesion_probabilities(one, models, names)
        for threshold in _THRESHOLDS:
            drawn = translate.sure_lesion(one, models, probabilities, threshold)
            volumes = {
                "lesion_ml": voxel_ml * np.count_nonzero(lesion),
                "expected_ml": voxel_ml * float(probabilities[..., 1:].sum()),
                **volume_errors(lesion, drawn > 0, voxel_ml),
            }
            rounded = {name: round(volume, 3) for name, volume in volumes.items()}
            yield {"case": case.case_id, "given": "+".join(names), "threshold": threshold, **rounded}


if __name__ == "__main__":
    program.run(main)
