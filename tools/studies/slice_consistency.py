"""Measures the effect of smoothing across slices (docs/experiments/records/slice_consistency.md).

    python -m tools.studies.slice_consistency --models=models/a --input=test_cases/ --output=slice_consistency.md

Every modality is translated from the first one, and synthesised from the first
one's structure map and the case's own label. Both are compared with real slices.
"""

import collections
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.patients import consistency

if TYPE_CHECKING:
    from mmsynth_tf.patients.patient import Patient
    from mmsynth_tf.patients.slice_models import SliceModels

_MODELS = path_flags.define_path(
    "models", None, "Folder with exported models, from python -m mmsynth_tf.export.", required=True
)
_INPUT = path_flags.define_path(
    "input", None, "Folder with complete cases that the models were not trained on.", required=True
)
_OUTPUT = path_flags.define_path("output", None, "Markdown file to write.", required=True)

_LEVELS_MM, _BLURS_MM = (0, 8, 16), (0, 0.5, 0.75, 1, 2)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf.patients import files, patient
    from mmsynth_tf.patients.slice_models import SliceModels
    from mmsynth_tf.storage import atomic

    models, scores = SliceModels.load(_MODELS.value), collections.defaultdict(list)
    for case in files.find(Path(_INPUT.value), models.data.modalities):
        one = patient.read(case, models.data, with_label=True)
        real = {modality: one.slices(modality) for modality in one.case.images}
        for job, images in make(one, models).items():
            for modality, setting in itertools.product(real.keys() & images, itertools.product(_LEVELS_MM, _BLURS_MM)):
                made = even_out(images[modality], *(sigma / one.slice_spacing for sigma in setting))
                scores[(job, *setting)].append(score(made, real[modality]))
    atomic.write_text(_OUTPUT.value, table(scores))


def make(one: "Patient", models: "SliceModels") -> dict[str, dict[str, np.ndarray]]:
    """Slices of each modality by job, not evened out."""
    from mmsynth_tf.patients import insert, translate

    source = one.choose(None)
    translation, insertion = translate.Translate(models), insert.Insert(models, [], remove_lesion=True)
    targets, given = [modality for modality in one.case.images if modality != source], {source: one.slices(source)}
    lesion = translate.find_lesion(one, models, [source]) if models.translate_labels else None
    return {
        "translate": {target: translation.translate(given, target, lesion) for target in targets},
        "insert": insertion.synthesize(
            one, source, one.case.label, removed=one.case.label, rng=np.random.default_rng(0)
        ),
    }


def even_out(slices: np.ndarray, level: float, blur: float) -> np.ndarray:
    head = slices > 0
    slices = consistency.match_levels(slices, level) if level else slices
    return consistency.blur_across(slices, head, blur) if blur else slices


def score(made: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Roughness as a share of the real slices', and mean absolute error over the head."""
    both = (made > 0) & (real > 0)
    return consistency.roughness(made) / consistency.roughness(real), float(np.abs(made - real)[both].mean())


def table(scores: Mapping[tuple, Sequence[tuple[float, float]]]) -> str:
    title = (
        "# Neighbouring slices\n\nWritten by `tools/studies/slice_consistency.py`; means over cases and modalities.\n"
    )
    lines = [
        title,
        "| job | brightness, mm | blur, mm | roughness / real | mean absolute error |",
        "|---|---|---|---|---|",
    ]
    for setting, values in sorted(scores.items()):
        ratio, error = np.nanmean(values, axis=0)
        lines.append(f"| {' | '.join(map(str, setting))} | {ratio:.2f} | {error:.4f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    program.run(main)
