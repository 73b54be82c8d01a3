"""The paper's requirement for the lesion Dice of a synthetic set (§2.8), and the Dice that a set reaches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmsynth_tf.reports.report import Cell, Table

KEPT_FROM = 0.95  # Mean Dice from which the paper keeps a sample.
REQUIRED = 0.99  # Mean Dice that the paper requires of the kept samples.

_WITHOUT_LESION = "no lesion in the label: share without a found lesion"
_CAPTION = (
    f"The paper requires a mean Dice of at least {REQUIRED} for the slices that passed the filters. Dice is by the "
    "segmenters of the lesion filter, which also selected these slices. Slices without a lesion are counted separately."
)


def text(record: Mapping[str, Any]) -> str:
    """Text on one set: the requirement, the Dice that it reaches, and whether its threshold is below the paper's.

    Args:
      record: the content of the set's data_set.json.
    """
    threshold = record["generation"]["settings"]["dice_threshold"]
    found = _agreement(record)
    if found is None:
        sentences = ["The Dice of the lesions was not measured in this set."]
    else:
        lesions, others = found["with_lesion"], found["without_lesion"]
        sentences = [
            f"The paper requires a mean Dice of at least {REQUIRED} for a finished set: {_verdict(lesions['dice'])}.",
            f"The segmenters of the lesion filter judged {lesions['slices']} slices with a lesion.",
            f"{others['slices']} slices without a lesion are counted separately.",
        ]
    if threshold < KEPT_FROM:
        sentences.append(
            f"The lesion filter keeps samples with a mean Dice of at least {threshold:g}; the paper's threshold is "
            f"{KEPT_FROM}."
        )
    return " ".join(sentences)


def table(records: Mapping[str, Mapping[str, Any]]) -> Table:
    """Table of the Dice that several sets reach, by modality.

    Args:
      records: the content of data_set.json by the name of the set; all have the same modalities.
    """
    modalities = next(iter(records.values()))["data"]["modalities"]
    rows: list[list[Cell]] = []
    for name, record in records.items():
        found = _agreement(record)
        if found is None:
            rows.append([name, "not measured", "–", *("–" for _ in modalities), "–", "–"])
            continue
        lesions, others = found["with_lesion"], found["without_lesion"]
        rows += [
            [name, "Dice of the lesion", *_cells(lesions, "dice", modalities), _verdict(lesions["dice"])],
            [name, _WITHOUT_LESION, *_cells(others, "nothing_found", modalities), "–"],
        ]
    return Table(["data set", "measure", "slices", *modalities, "mean", f"at least {REQUIRED}"], rows, _CAPTION)


def _agreement(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The set's agreement with the segmenters; None if no segmenter was applied to its slices."""
    return record.get("statistics", {}).get("lesion_agreement")


def _cells(found: Mapping[str, Any], name: str, modalities: Sequence[str]) -> list[Cell]:
    values = found[name]
    if not values:
        return [found["slices"], *("–" for _ in modalities), "–"]
    # The joint segmenter has one value for all modalities together.
    return [found["slices"], *(values.get(modality, "–") for modality in modalities), _mean(values)]


def _verdict(dice: Mapping[str, float]) -> str:
    if not dice:
        return "no slice has a lesion"
    return f"{'reached' if _mean(dice) >= REQUIRED else 'not reached'} ({_mean(dice):.3f})"


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))
