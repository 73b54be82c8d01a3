"""Tables of the records of `fidelity`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from mmsynth_tf.experiments.fidelity import distributions, diversity, registration, set_distances, slice_statistics
from mmsynth_tf.experiments.slice_sets import STRUCTURE_MAP, name_of
from mmsynth_tf.reports import report
from mmsynth_tf.storage.records import Record

ACCURACY = "classifier accuracy"
# From the record of a synthetic data set.
ACCEPTANCE = (
    "drawn",
    "structure_acceptance",
    "map_acceptance",
    "synthesised",
    "lesion_acceptance",
    "passed_lesion_filter",
)

_BY_MODALITY = (
    set_distances.FRECHET_DISTANCE,
    set_distances.RADIOMICS_DISTANCE,
    diversity.MS_SSIM,
    ACCURACY,
    slice_statistics.EDGE_DENSITY,
    slice_statistics.HEAD_AREA,
)
# Measures of agreement between two modalities; those that no loss contains come first.
_OF_PAIRS = (
    registration.MUTUAL_INFORMATION,
    registration.GRADIENT_CORRELATION,
    slice_statistics.CORRELATION,
    slice_statistics.REGISTRATION,
)


def tables(rows: Sequence[Record], modalities: Sequence[str], left_out: Mapping[str, str]) -> dict[str, report.Table]:
    """Builds `table` from the measures of single modalities, and further tables named after their measure.

    Args:
      rows: all records.
      modalities: names of the modalities.
      left_out: omitted measure to the reason why it could not be computed.
    """
    notes = " ".join(f"Left out: {name}, because {reason}." for name, reason in left_out.items())
    intensities = [row for row in rows if row["metric"] == slice_statistics.INTENSITY]
    agreement = [row for name in _OF_PAIRS for row in rows if row["metric"] == name]
    pairs = list(dict.fromkeys(row["modality"] for row in agreement))
    by_modality = [row for name in _BY_MODALITY for row in rows if row["metric"] == name]
    return {
        "table": _pivot(by_modality, _measure, (*modalities, STRUCTURE_MAP), f"{_CAPTION} {notes}".strip()),
        "variety": _variety([row for row in rows if row["metric"] == diversity.MS_SSIM], (*modalities, STRUCTURE_MAP)),
        "registration": _pivot(agreement, lambda row: row["metric"], pairs, _REGISTRATION_CAPTION),
        "intensity": _pivot(intensities, lambda row: row["region"], modalities, _INTENSITY_CAPTION),
        "distribution": _distribution([row for row in rows if row["metric"] == distributions.DISTRIBUTION]),
        "acceptance": _acceptance([row for row in rows if row["metric"] in ACCEPTANCE]),
    }


_CAPTION = (
    "Synthetic and real slices. Fréchet distances: smaller is closer. They grow as sets shrink, so compare each with "
    "the distance of real slices at a similar number of slices (set / reference). Covariances are sample covariances, "
    "or Ledoit-Wolf estimates if a set has no more slices than dimensions. The Fréchet radiomics distance is a "
    "logarithm. MS-SSIM: random pairs of different patients, mean ± sd; a value above that of real slices means less "
    "variety. Judge: segmenters trained only for judging, whose features are compared. Accuracy: share of slices "
    "whose modality a classifier recognises; it was trained on real slices only. Edge density: share of head "
    "pixels that are edges. Head area: share of the slice. Both are mean ± sd over slices."
)
_REGISTRATION_CAPTION = (
    "Registration of two modalities of a slice, inside the head, mean ± sd over slices. No loss contains normalised "
    "mutual information (of binned intensities), the correlation of Gaussian gradient magnitudes, or the tissue "
    "correlation (Pearson's, of normal tissue). The best tissue correlation is that of real slices, not the highest. "
    "Registration Dice compares structure maps, which the generator's losses optimise."
)
_VARIETY_CAPTION = (
    "MS-SSIM of random pairs of slices of different patients, and of their structure maps, mean ± sd; then differences "
    "from the mean of the first set. A difference above 0 means less variety."
)
_INTENSITY_CAPTION = (
    "Intensities of the head by region, mean ± sd over pixels; normal tissue is the head without lesion label."
)


_DISTRIBUTION_CAPTION = (
    "Distributions over slices that show a head. Distance: Kolmogorov and Smirnov's from the first set, the real "
    "training slices; 0 is the same distribution, 1 is no overlap. Unseen patients say how large it is between "
    "patients."
)


def _measure(row: Record) -> str:
    """Name of a row's metric, with its feature extractor or number of scales."""
    metric = row["metric"]
    if metric == set_distances.FRECHET_DISTANCE:
        metric = f"{metric} ({row['features']})"
    if "scales" in row:
        metric = f"{metric} ({row['scales']} scales)"
    return metric


def _pivot(
    rows: Iterable[Record], measure: Callable[[Record], str], columns: Sequence[str], caption: str
) -> report.Table:
    """A row for each measure, set and portion, and a column for each modality; values are means over seeds."""
    cells: dict[tuple, dict[str, list[Record]]] = {}
    for row in rows:
        cells.setdefault((measure(row), _set(row)), {}).setdefault(row["modality"], []).append(row)
    lines = [
        [*key, _numbers(line), *(_cell(line.get(column, [])) for column in columns)] for key, line in cells.items()
    ]
    return report.Table(["measure", "set", "n", *columns], lines, caption)


def _variety(rows: Sequence[Record], columns: Sequence[str]) -> report.Table:
    """MS-SSIM of each set, and its difference from the first set, the real training slices."""
    values = {(name_of(row), row["modality"]): row["value"] for row in rows}
    first, *others = dict.fromkeys(name for name, _ in values) or [""]
    differences = [
        [f"{name} minus {first}", "", "", *(f"{values[name, c] - values[first, c]:+.3f}" for c in columns)]
        for name in others
    ]
    found = _pivot(rows, _measure, columns, _VARIETY_CAPTION)
    return report.Table(found.header, [*found.rows, *differences], found.caption)


def _distribution(rows: Iterable[Record]) -> report.Table:
    """A row for each quantity and set."""
    names = [f"q{share}" for share in distributions.QUANTILES]
    lines = [
        [row["quantity"], name_of(row), row["count"], *(f"{row[name]:.3g}" for name in ("value", *names, "distance"))]
        for row in sorted(rows, key=lambda row: row["quantity"])
    ]
    header = ["quantity", "set", "n", "mean", *(f"{share:.0%}" for share in distributions.QUANTILES), "distance"]
    return report.Table(header, lines, _DISTRIBUTION_CAPTION)


def _set(row: Record) -> str:
    portion = row.get("portion", set_distances.ALL_SLICES)
    return name_of(row) + ("" if portion == set_distances.ALL_SLICES else f", {portion}")


def _numbers(line: Mapping[str, Sequence[Record]]) -> str:
    """Number of values in the columns, as a range "min–max" if they differ; for distances also of the reference."""
    rows = [row for cell in line.values() for row in cell]
    names = [name for name in ("count", "reference_count") if name in rows[0]]
    limits = [(min(row[name] for row in rows), max(row[name] for row in rows)) for name in names]
    return " / ".join(str(least) if least == most else f"{least}–{most}" for least, most in limits)


def _cell(found: Sequence[Record]) -> str:
    if not found:
        return "–"
    mean = sum(row["value"] for row in found) / len(found)
    if math.isnan(mean):
        return "–"
    return f"{mean:.4g} ± {found[0]['std']:.3g}" if "std" in found[0] else f"{mean:.4g}"


def _acceptance(rows: Sequence[Record]) -> report.Table:
    names = list(dict.fromkeys(name_of(row) for row in rows))
    values = {(name_of(row), row["metric"]): row["value"] for row in rows}
    lines = [[name, *(values[name, metric] for metric in ACCEPTANCE)] for name in names]
    header = ["set", *(metric.replace("_", " ") for metric in ACCEPTANCE)]
    return report.Table(
        header,
        lines,
        "Acceptance of the generation filters: Algorithm 3, similarity to real maps, then the lesion filter.",
    )
