"""Maps the values of label files to classes, and suggests remedies for unknown values."""

import json
from collections.abc import Sequence

import numpy as np

from mmsynth_tf import constants
from mmsynth_tf.reading.release_table import RELEASES, Release
from mmsynth_tf.reading.volumes import Oddity

# Largest rounding error of labels stored with a slope, in single precision and 16 bits.
_LARGEST_ROUNDING = 1e-3
_MOST_SHOWN = 5
_OTHER_LABEL = "Choose another label"


class LabelError(ValueError):
    """A label that cannot be mapped to classes: the error and its remedy."""

    def __init__(self, text: str, remedy: str):
        super().__init__(f"{text}. {remedy}")
        self.text, self.remedy = text, remedy


def to_classes(
    array: np.ndarray, release: Release, labels: Sequence[str], flag: str = "--release", fixed: bool = False
) -> tuple[np.ndarray, list[Oddity]]:
    """Maps label values to classes.

    Args:
      array: values of the file [x, y, z].
      release: the release that defines the values.
      labels: names of the configured classes.
      flag: the flag that selects a release, for messages.
      fixed: the classes belong to trained models, so that no setting changes them.

    Returns:
      Classes, uint8 [x, y, z], and warnings about the values.

    Raises:
      LabelError: values are unknown, or have no class in the canonical scheme or among `labels`.
    """
    array, oddities = whole_numbers(array)
    classes = {value: value for value in range(len(labels))} if release.label_values is None else release.label_values
    inside = array.T != 0  # Reversed axes follow the memory order.
    found = array.T[inside]
    values = np.unique(found)
    unknown = [value for value in values if value.item() not in classes]
    if unknown:
        raise LabelError(*_unknown(values, unknown, release, labels, flag, fixed))
    table = np.zeros(max(classes) + 1, np.uint8)
    table[list(classes)] = list(classes.values())
    label = np.zeros(array.shape, np.uint8, order="F")
    label.T[inside] = table[found.astype(np.intp)]
    if label.max() >= len(labels):
        text = f"class {label.max()} is outside the {len(labels)} configured classes"
        raise LabelError(text, _OTHER_LABEL if fixed else "Name all classes in --config.data.labels")
    if release.label_values is not None and tuple(labels) != constants.BRATS_LABELS:
        oddities.append(_other_names(labels, flag))
    return label, oddities


def whole_numbers(array: np.ndarray) -> tuple[np.ndarray, list[Oddity]]:
    """Rounds values that differ from integers by rounding errors only, with a warning; keeps other values."""
    if np.issubdtype(array.dtype, np.integer):
        return array, []
    with np.errstate(invalid="ignore"):  # Infinity minus infinity.
        rounded = np.rint(array)
        distance = np.abs(array - rounded)
        slips = (distance > 0) & (distance <= _LARGEST_ROUNDING)
    if not slips.any():
        return array, []
    worst = array[slips][np.argmax(distance[slips])]
    text = f"its values are rounded to whole numbers, {shown(worst)} to {shown(np.rint(worst))} for one"
    return np.where(slips, rounded, array), [Oddity(text, "Store the label as integers")]


def shown(value: np.generic) -> str:
    """Formats a value with all digits; integers without a decimal point."""
    return f"{value:.0f}" if np.isfinite(value) and value == np.rint(value) else str(value)


def _unknown(
    values: np.ndarray, unknown: Sequence[np.generic], release: Release, labels: Sequence[str], flag: str, fixed: bool
) -> tuple[str, str]:
    beyond = [value for value in unknown if value.item() in release.beyond]
    if len(beyond) == len(unknown):
        meanings = ", ".join(f"{shown(value)} ({release.beyond[value.item()]})" for value in beyond)
        text = f"label value {meanings} of {release.name} has no class among {', '.join(constants.BRATS_LABELS)}"
        if fixed:
            return text, _OTHER_LABEL
        return text, f"Remove the case, or make each value a class of its own: {_own_classes(release, flag)}"
    text = f"unknown label value {', '.join(map(shown, unknown[:_MOST_SHOWN]))}; {release.name} has "
    text += ", ".join(map(str, release.meanings(labels)))
    if any(value != np.rint(value) for value in unknown):
        return text, f"Store the label as whole numbers (up to {_LARGEST_ROUNDING:g} is rounded)"
    remedies = ["Repair the label"]
    if options := _options(values, release, labels, flag):
        remedies.append(f"name its numbering: {' or '.join(options)}")
    if not fixed and release.label_values is None and min(unknown) > 0 and max(unknown) <= np.iinfo(np.uint8).max:
        remedies.append("name all classes in --config.data.labels")
    return text, ", or ".join(remedies)


def _options(values: np.ndarray, release: Release, labels: Sequence[str], flag: str) -> list[str]:
    """Releases that know all values, with the meanings; of releases with equal meanings, the first."""
    options: dict[str, str] = {}
    for other in RELEASES.values():
        meanings = other.meanings(labels)
        if other.layout == release.layout and all(value in meanings for value in values.tolist()):
            numbering = ", ".join(f"{shown(value)} {meanings[value.item()]}" for value in values)
            options.setdefault(numbering, f"{flag}={other.name} ({numbering})")
    return list(options.values())


def _own_classes(release: Release, flag: str) -> str:
    """The settings that use a release's values as classes."""
    meanings = release.meanings(())
    names = ",".join(meaning.replace(" ", "_") for meaning in meanings.values())
    regions = {"lesion": [value for value in meanings if value]}
    regions |= {meaning.replace(" ", "_"): [value] for value, meaning in release.beyond.items()}
    return f"{flag}=custom --config.data.labels={names} --config.data.regions='{json.dumps(regions)}'"


def _other_names(labels: Sequence[str], flag: str) -> Oddity:
    text = (
        f"its values become classes 0 to 4 of BraTS ({', '.join(constants.BRATS_LABELS)}), and data.labels names them "
        f"{', '.join(labels)}"
    )
    return Oddity(text, f"Use {flag}=custom if the values in the file are the classes of data.labels")
