"""Translates whole volumes and compares them with the real ones (docs/experiments/records/translate_volumes.csv).

    python -m tools.studies.translate_volumes --models=models/a --input=test_cases/ --output=translate_volumes.csv

Each case's first modality is translated to the others, as by `mmsynth translate`.
Each case and target gives a row: PSNR, SSIM and MAE inside the head at the
volume's own voxels, roughness across slices as a share of the real volume's,
and the seconds of the whole case.
"""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags

if TYPE_CHECKING:
    from mmsynth_tf.patients.translate import Translate
    from mmsynth_tf.reading.releases import CaseFiles
    from mmsynth_tf.storage.records import Record

_MODELS = path_flags.define_path(
    "models", None, "Folder with exported models, from python -m mmsynth_tf.export.", required=True
)
_INPUT = path_flags.define_path(
    "input", None, "Folder with complete cases that the models were not trained on.", required=True
)
_OUTPUT = path_flags.define_path("output", None, "CSV file to write.", required=True)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf.patients import files, slice_models, translate
    from mmsynth_tf.storage import records

    models = slice_models.SliceModels.load(_MODELS.value)
    source, *targets = models.data.modalities
    job = translate.Translate(models, source=source, targets=targets)
    found = files.find(Path(_INPUT.value), models.data.modalities)
    records.write_csv(_OUTPUT.value, [row for case in found for row in measure(case, job)])


def measure(case: "CaseFiles", job: "Translate") -> list["Record"]:
    """A record for each target of a case."""
    from mmsynth_tf.patients import files, patient
    from mmsynth_tf.reading import volumes

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        # The lesion is to be found, not known.
        job(dataclasses.replace(case, label=None), Path(folder))
        seconds = time.monotonic() - began
        paths = {target: Path(folder) / files.image_name(case, target) for target in job.targets}
        made = {target: volumes.read_image(path).array for target, path in paths.items()}
    one = patient.read(case, job.models.data)
    common = {"case": case.case_id, "source": job.source, "seconds": round(seconds, 1)}
    return [{**common, "target": target, **scores(volume, one.scaled(target))} for target, volume in made.items()]


def scores(made: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Scores of a volume [x, y, z] over the head of the real one."""
    from mmsynth_tf.metrics.images import masked_mae, masked_psnr, masked_ssim
    from mmsynth_tf.patients import consistency

    # Metrics and roughness take axial slices.
    made, real = (np.moveaxis(volume, 2, 0) for volume in (made, real))
    head = real > 0
    return {
        "psnr": masked_psnr(real, made, head),
        "ssim": masked_ssim(real, made, head),
        "mae": masked_mae(real, made, head),
        "roughness / real": consistency.roughness(made) / consistency.roughness(real),
    }


if __name__ == "__main__":
    program.run(main)
