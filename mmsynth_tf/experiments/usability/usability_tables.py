"""Tables of the usability experiment: Dice for each mixture, and paired comparisons (method §8)."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from mmsynth_tf import constants
from mmsynth_tf.experiments.usability import mixtures
from mmsynth_tf.experiments.usability.mixtures import Mixture
from mmsynth_tf.metrics.segmentation import DICE
from mmsynth_tf.metrics.summary import summarise
from mmsynth_tf.reports import report
from mmsynth_tf.storage.records import Record

_AUTHORS_METRICS = ("authors' dice", "authors' mse")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Comparison of a row with the row of all real slices, over the patients that have a score in both.

    Attributes:
      difference: mean over patients of row minus baseline; NaN without patients.
      p_value: two-sided Wilcoxon signed-rank test, not corrected for the number of rows; NaN without patients.
      count: number of patients.
    """

    difference: float
    p_value: float
    count: int


def compare(scores: Sequence[Record], name: str, region: str, patients: dict[str, str]) -> Comparison:
    """Compares a row with the baseline by patients' Dice, each a mean over cases, modalities and seeds."""
    ours, baseline = (_by_patient(scores, mixture, region, patients) for mixture in (name, mixtures.BASELINE.name))
    shared = sorted(ours.keys() & baseline.keys())
    differences = np.array([ours[patient] - baseline[patient] for patient in shared])
    if not len(differences):
        return Comparison(np.nan, np.nan, 0)
    # The test is not defined if all differences are 0.
    p_value = float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0
    return Comparison(float(differences.mean()), p_value, len(differences))


def _by_patient(scores: Iterable[Record], name: str, region: str, patients: dict[str, str]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in matching(scores, mixture=name, region=region, metric=DICE):
        if not np.isnan(row["value"]):
            values.setdefault(patients.get(row["case"], row["case"]), []).append(row["value"])
    return {patient: float(np.mean(found)) for patient, found in values.items()}


def main_table(
    scores: Sequence[Record], rows: Iterable[Mixture], regions: Sequence[str], patients: dict[str, str]
) -> report.Table:
    """The paper's table: training set and scores of each row, and its difference from all real slices."""
    header = ["row", "real", "synthetic", "augmented", "order", *(f"Dice {region}" for region in regions)]
    body = []
    for mixture in rows:
        own = matching(scores, mixture=mixture.name)
        body.append(
            [
                *(mixture.name, f"{mixture.real:g}", f"{mixture.synthetic:g}", f"{mixture.augmented:g}", mixture.order),
                *(_over_seeds(matching(own, region=region, metric=DICE)) for region in regions),
                *(_over_seeds(matching(own, metric=metric)) for metric in _AUTHORS_METRICS),
                *_comparison_cells(scores, mixture, regions[0], patients),
            ]
        )
    caption = (
        "Mean ± sd over n seeds of the mean over patients and modalities; the authors' scores compare label maps. "
        f"Difference of the Dice of {regions[0]} from row {mixtures.BASELINE.name}: mean over patients, two-sided "
        "Wilcoxon signed-rank test, not corrected for the number of rows."
    )
    return report.Table([*header, *_AUTHORS_METRICS, "difference", "p", "patients"], body, caption)


def comparison_table(
    scores: Sequence[Record], rows: Iterable[Mixture], regions: Sequence[str], patients: dict[str, str]
) -> report.Table:
    """The differences of all rows from all real slices, in every region."""
    body = [
        [mixture.name, region, *_comparison_cells(scores, mixture, region, patients)]
        for mixture in rows
        if mixture != mixtures.BASELINE
        for region in regions
    ]
    caption = f"Dice against row {mixtures.BASELINE.name}, paired by patient; Wilcoxon signed-rank test, uncorrected."
    return report.Table(["row", "region", "difference", "p", "patients"], body, caption)


def modality_table(scores: Sequence[Record], rows: Iterable[Mixture], regions: Sequence[str]) -> report.Table:
    """Dice of each modality's segmenter, and of their ensemble."""
    body = []
    for mixture in rows:
        own = matching(scores, mixture=mixture.name, metric=DICE)
        for modality in dict.fromkeys(row["modality"] for row in own):
            cells = [_over_seeds(matching(own, modality=modality, region=region)) for region in regions]
            body.append([mixture.name, modality, *cells])
    caption = (
        "Dice by modality: mean ± sd over n seeds of the mean over patients; "
        f"{constants.ALL_MODALITIES}: all modalities combined."
    )
    return report.Table(["row", "modality", *regions], body, caption)


def _comparison_cells(
    scores: Sequence[Record], mixture: Mixture, region: str, patients: dict[str, str]
) -> list[report.Cell]:
    found = compare(scores, mixture.name, region, patients)
    if mixture == mixtures.BASELINE or not found.count:
        return ["–", "–", found.count]
    return [f"{found.difference:+.3f}", f"{found.p_value:.3f}", found.count]


def _over_seeds(scores: Sequence[Record]) -> str:
    seeds = dict.fromkeys(row["seed"] for row in scores)
    means = [summarise(row["value"] for row in matching(scores, seed=seed)).mean for seed in seeds]
    return summarise(means).text()


def matching(scores: Iterable[Record], **fields: str | int) -> list[Record]:
    return [row for row in scores if all(row[name] == value for name, value in fields.items())]
