"""Trained segmenters on real patients, and on unfiltered synthetic slices (the paper's Table 1)."""

from mmsynth_tf import constants, prepared, run_records, training
from mmsynth_tf.experiments import evaluation
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.reports import report


def run(request: Request) -> dict[str, report.Table]:
    """Dice of the segmenters by patient volume, modality and region.

    Raises:
      PreparedDataError: the data set does not fit the segmenters.
      LeakError: a test patient was used in training.
    """
    return _score("segmentation", request, evaluation.VOLUME)


def run_lesion_check(request: Request) -> dict[str, report.Table]:
    """Dice on real test slices beside that on synthetic ones: is the lesion where the label says?

    Raises:
      PreparedDataError: a data set does not fit the segmenters.
      LeakError: a test patient was used in training.
    """
    return _score("lesion_check", request, evaluation.SLICE)


def _score(name: str, request: Request, unit: str) -> dict[str, report.Table]:
    study = Study(name, request, (constants.SEGMENTATION,))
    segmenter, config = training.load(constants.SEGMENTATION, request.workdir)
    trained_on = run_records.trained_on(constants.SEGMENTATION, request.workdir)
    rows = []
    for data, split in [(request.real, request.split), *((data, "train") for data in request.synthetic)]:
        prepared.require_same_geometry(data, config.data, f"the segmenters in {request.workdir}")
        evaluation.refuse_leak(trained_on, data, split)

        def measure(data=data, split=split):
            cases = evaluation.segmented_cases(segmenter, data, split)
            common = {"test_data": data_name(data), "seed": config.runtime.seed}
            return evaluation.segmentation_records(cases, data, unit, **common)

        rows += study.part(data_name(data), measure)
    table = evaluation.summary_table(rows, ("test_data", "modality"), "dice", f"Dice per {unit}, mean ± sd")
    return study.finish(rows, {"table": table})
