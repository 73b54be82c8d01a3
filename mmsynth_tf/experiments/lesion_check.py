"""Agreement of lesions in unfiltered synthetic slices with their label, measured by judges (the paper's Table 1)."""

import functools

from mmsynth_tf import constants
from mmsynth_tf.experiments import judges, leaks, scoring
from mmsynth_tf.experiments.segmentation import require_usable, scores
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.reports import report
from mmsynth_tf.training import runs


def run(request: Request) -> dict[str, report.Table]:
    """Dice of segmenters on real test slices and on synthetic slices.

    There is one judge for each of `request.seeds`, and the work directory's own segmenters for comparison. These are
    joint segmenters, or in protocol `paper` those of the modalities.

    Raises:
      PreparedDataError: a data set does not fit the segmenters.
      LeakError: a test patient was used in training.
      UserError: there are no training patients for the judges.
    """
    stage = constants.JOINT if request.protocol == constants.JOINT else constants.SEGMENTATION
    study = Study("lesion_check", request, (stage,))
    segmenter, config = runs.load(stage, request.workdir)
    require_usable(request, stage)
    leaks.refuse_leak([request.training.record], request.real, request.split)
    panel = [judges.Judge(request, number, stage) for number in request.seeds]
    known = judges.described(judges.STAGE, config, stage)
    rows = []
    for data, split in [(request.real, request.split), *((data, "train") for data in request.synthetic)]:
        score = functools.partial(scores, data=data, split=split, unit=scoring.SLICE)
        for judge in panel:
            rows += study.part(
                f"{data_name(data)}_judge_{judge.key}",
                lambda score=score, judge=judge: score(judge.segmenter, judge=judge.name),
            )
        rows += study.part(f"{data_name(data)}_stage", lambda score=score: score(segmenter, judge=known))
    rows.sort(key=lambda row: row["judge"].startswith(judges.STAGE))
    table = scoring.summary_table(
        rows, ("judge", "test_data", "modality"), "dice", f"Dice per slice, mean ± sd. {judges.CAPTION}"
    )
    return study.finish(rows, {"table": table})
