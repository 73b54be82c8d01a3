"""Experiments on trained stages: records on disk, and tables made from them (method §8)."""

import pathlib
from collections.abc import Sequence

from mmsynth_tf import constants, evaluation, prepared, records, report, training


def run_segmentation(
    experiment: str, workdir: str, test_data: str, split: str = "test", synthetic_data: Sequence[str] = ()
) -> report.Table:
    """Scores the trained segmenters on real patients, and on synthetic slices where given.

    Real patients are scored by volume; where synthetic slices are given, both are
    scored by slice, so that the two can be compared (Table 1 of the paper).

    Args:
      experiment: name; records go to <workdir>/evaluation/<experiment>/.
      workdir: holds the segmentation stage.
      test_data: prepared data set of real patients.
      split: its split that is scored.
      synthetic_data: unfiltered synthetic data sets.

    Returns:
      Dice by test set, modality and region.

    Raises:
      PreparedDataError: a data set does not fit the segmenters.
      LeakError: a test case was used in training.
    """
    segmenter, config = training.load(constants.SEGMENTATION, workdir)
    test_sets = [(prepared.open_prepared(test_data), split)]
    test_sets += [(prepared.open_prepared(path), "train") for path in synthetic_data]
    unit = evaluation.SLICE if synthetic_data else evaluation.VOLUME
    rows = []
    for data, part in test_sets:
        prepared.require_same_geometry(data, config.data, f"the segmenters in {workdir}")
        evaluation.refuse_leak(training.trained_on(constants.SEGMENTATION, workdir), data, part)
        cases = evaluation.segmented_cases(segmenter, data, part)
        rows += evaluation.segmentation_records(
            cases, data, unit, experiment=experiment, test_data=str(data.path), seed=config.runtime.seed
        )
    folder = pathlib.Path(workdir) / "evaluation" / experiment
    records.write_json(folder / "records.json", rows)
    records.write_csv(folder / "records.csv", rows)
    table = evaluation.summary_table(rows, ("test_data", "modality"), "dice", f"Dice per {unit}, mean ± sd")
    records.write_text(folder / "table.md", table.markdown())
    return table
