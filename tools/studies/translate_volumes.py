"""Translates whole volumes and compares them with the real ones (docs/experiments/records/translate_volumes.csv).

    python -m tools.studies.translate_volumes --models=models/a --input=test_cases/ --output=translate_volumes.csv

Modalities are translated to the others as by `mmsynth translate`: those that
--given names, or the first one. Labels are not shown to the job. Each case and target
gives a row: PSNR, SSIM and MAE inside the head at the volume's own voxels, with a
label also the SSIM of the BraSyn challenge and the error in the lesion, roughness across
slices as a share of the real volume's, and the seconds of the whole case.
"""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

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
_GIVEN = flags.DEFINE_multi_string(
    "given", [], "Modalities to translate from, as in t1,flair; may be repeated. Without it, the first modality."
)
_OUTPUT = path_flags.define_path("output", None, "CSV file to write.", required=True)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf.patients import files, slice_models, translate
    from mmsynth_tf.storage import records

    models = slice_models.SliceModels.load(_MODELS.value)
    names = models.data.modalities
    jobs = []
    for given in _GIVEN.value or names[:1]:
        sources = given.split(",")
        targets = [name for name in names if name not in sources]
        jobs.append(translate.Translate(models, sources=sources, targets=targets))
    found = files.find(Path(_INPUT.value), names)
    records.write_csv(_OUTPUT.value, [row for case in found for job in jobs for row in measure(case, job)])


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
    one = patient.read(case, job.models.data, with_label=True)
    common = {"case": case.case_id, "source": "+".join(job.sources), "seconds": round(seconds, 1)}
    return [
        {**common, "target": target, **scores(volume, one.scaled(target), one.case.label)}
        for target, volume in made.items()
    ]


def scores(made: np.ndarray, real: np.ndarray, label: np.ndarray | None) -> dict[str, float]:
    """Scores of a volume [x, y, z] over the head of the real one, and over its lesion if it is known."""
    from mmsynth_tf.metrics.images import brasyn_ssim, masked_mae, masked_psnr, masked_ssim, regional_ssim
    from mmsynth_tf.patients import consistency

    # Metrics and roughness take axial slices.
    made, real = (np.moveaxis(volume, 2, 0) for volume in (made, real))
    head, of_regions = real > 0, {}
    if label is not None:
        lesion, inside = np.moveaxis(label, 2, 0) > 0, np.where(head, made, 0.0)
        of_regions = {f"ssim {region}": value for region, value in regional_ssim(real, inside, lesion).items()}
        found = brasyn_ssim(real, inside, lesion)
        of_regions |= {f"BraSyn's ssim.py {region}": value for region, value in found.items()}
        of_regions["mae lesion"] = masked_mae(real, inside, lesion)
    return {
        "psnr": masked_psnr(real, made, head),
        "ssim": masked_ssim(real, made, head),
        "mae": masked_mae(real, made, head),
        "roughness / real": consistency.roughness(made) / consistency.roughness(real),
        **of_regions,
    }


if __name__ == "__main__":
    program.run(main)
