"""Segmenters on real patients, and lesions of unfiltered synthetic slices as judges find them (the paper's Table 1)."""

import functools

from mmsynth_tf import constants, prepared
from mmsynth_tf.experiments import judges, leaks, scoring
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.reports import report
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs


def run(request: Request) -> dict[str, report.Table]:
    """Dice of the segmenters by patient volume, modality and region.

    Raises:
      PreparedDataError: the data set does not fit the segmenters.
      LeakError: a test patient was used in training.
    """
    study = Study("segmentation", request, (constants.SEGMENTATION,))
    segmenter, config = runs.load(constants.SEGMENTATION, request.workdir)
    _require_usable(request)
    common = {"seed": config.runtime.seed}
    rows = study.part(
        data_name(request.real),
        lambda: _scores(segmenter, request.real, request.split, scoring.VOLUME, **common),
    )
    table = scoring.summary_table(rows, ("test_data", "modality"), "dice", "Dice per volume, mean ± sd")
    return study.finish(rows, {"table": table})


def run_lesion_check(request: Request) -> dict[str, report.Table]:
    """Dice on real test slices beside that on synthetic ones: is the lesion where the label says?

    One judge for each of `request.seeds`; and the segmentation stage, for comparison.

    Raises:
      PreparedDataError: a data set does not fit the segmenters.
      LeakError: a test patient was used in training.
      UserError: there are no patients to train judges on.
    """
    study = Study("lesion_check", request, (constants.SEGMENTATION,))
    stage, config = runs.load(constants.SEGMENTATION, request.workdir)
    _require_usable(request)
    leaks.refuse_leak([request.training.record], request.real, request.split)
    panel = [judges.Judge(request, number) for number in request.seeds]
    known = judges.described(judges.STAGE, config)
    rows = []
    for data, split in [(request.real, request.split), *((data, "train") for data in request.synthetic)]:
        score = functools.partial(_scores, data=data, split=split, unit=scoring.SLICE)
        for judge in panel:
            rows += study.part(
                f"{data_name(data)}_judge_{judge.key}",
                lambda score=score, judge=judge: score(judge.segmenter, judge=judge.name),
            )
        rows += study.part(f"{data_name(data)}_stage", lambda score=score: score(stage, judge=known))
    rows.sort(key=lambda row: row["judge"].startswith(judges.STAGE))
    table = scoring.summary_table(
        rows, ("judge", "test_data", "modality"), "dice", f"Dice per slice, mean ± sd. {judges.CAPTION}"
    )
    return study.finish(rows, {"table": table})


def _require_usable(request: Request) -> None:
    config = run_folder.read_config(request.workdir / constants.SEGMENTATION)
    for data in (request.real, *request.synthetic):
        prepared.require_same_geometry(data, config.data, f"the segmenters in {request.workdir}")
    trained_on = run_folder.trained_on(constants.SEGMENTATION, request.workdir)
    leaks.refuse_leak(trained_on, request.real, request.split)


def _scores(
    segmenter: Segmenter, data: prepared.PreparedData, split: str, unit: str, **common: str | int
) -> list[Record]:
    cases = scoring.segmented_cases(segmenter, data, split)
    return scoring.segmentation_records(cases, data, unit, test_data=data_name(data), **common)
