"""Are synthetic slices copies of training slices (method §8)?

For each synthetic slice its nearest real training slice, or mirrored one, in three spaces; and the same for real
slices of patients that were not trained on, for how close a new patient comes by chance.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from mmsynth_tf import constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.memorisation import slice_descriptions
from mmsynth_tf.experiments.memorisation.slice_descriptions import Describe
from mmsynth_tf.experiments.slice_sets import SliceSet, name_of, sources
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.metrics.nearest import COPY_RULE, Closeness, CopyCheck, Described, nearest
from mmsynth_tf.reports import plots, report
from mmsynth_tf.storage.records import Record

NEAREST_DISTANCE = "nearest distance"
SHARE_CLOSE = "share below 1st percentile of unseen"
SHARE_ONE_PATIENT = "share with ratio below 1st percentile of unseen"
VERDICT = "verdict"

_PERCENTILES = {"smallest": 0, "1st percentile": 1, "5th percentile": 5, "median": 50}
_SMALLEST_RATIO, _MEDIAN_RATIO = "smallest ratio", "median ratio"
_CLOSEST_PAIRS = 20  # Of each set and space.


def run(request: Request) -> dict[str, report.Table]:
    """Nearest training slices of every synthetic slice and every unseen real one, and a verdict.

    In all spaces, or those that `request.rows` names.

    Raises:
      UserError: an unknown space.
      PreparedDataError: a data set does not fit the models.
      LeakError: patients of the tested split were trained on, so that they are not unseen.
    """
    spaces = slice_descriptions.spaces(request)
    unknown = sorted(set(request.rows) - set(spaces))
    if unknown:
        raise UserError(f"No such space: {', '.join(unknown)}. There are {', '.join(spaces)}.")
    study = Study("memorisation", request, (constants.SEGMENTATION, constants.SYNTHESIS))
    train, unseen, synthetic = sources(request)
    rows, summaries, closest = [], [], []
    for space in request.rows or spaces:
        search = _Search(study, space, train, functools.cache(spaces[space]))
        unseen_rows = search.nearest_rows(unseen)
        rows += unseen_rows
        summaries += _percentiles(unseen_rows)
        for source in synthetic:
            found = search.nearest_rows(source)
            rows += found
            not_searched = _not_searched(source.data, request.training)
            summaries += [*_percentiles(found), *_verdict(found, unseen_rows, not_searched)]
            closest += sorted(found, key=lambda row: row["value"])[:_CLOSEST_PAIRS]
    summaries = [{"experiment": study.name, **row} for row in summaries]
    return study.finish(rows + summaries, {"table": _table(summaries), "closest_pairs": _closest_table(closest)})


class _Search:
    """Nearest training slices in one space. Training slices are only read if something is not measured yet."""

    def __init__(self, study: Study, space: str, train: SliceSet, make_describe: functools.cache):
        self._study, self._space, self._train, self._make_describe = study, space, train, make_describe

    def nearest_rows(self, source: SliceSet) -> list[Record]:
        """One record a slice (of structure maps: a map), with what it is nearest to."""
        name = f"{self._space.replace(' ', '_')}_{data_name(source.data)}_{source.split}"
        return self._study.part(name, lambda: self._measure(source))

    @functools.cached_property
    def _reference(self) -> tuple[Described, list[Record]]:
        return slice_descriptions.describe_training(self._train, self._make_describe())

    def _measure(self, source: SliceSet) -> Iterator[Record]:
        reference, reference_names = self._reference
        describe: Describe = self._make_describe()
        names: list[Record] = []

        def queries() -> Iterator[Described]:
            for batch in source.batches():
                described, own_names = describe(batch)
                names.extend(own_names)
                yield described

        found, index = nearest(queries(), reference, [name["patient"] for name in reference_names])
        common = {**source.key, "space": self._space, "metric": NEAREST_DISTANCE}
        for name, value, ratio, number in zip(names, found.distance, found.ratio, index, strict=True):
            training_slice = {
                key if key == "mirrored" else f"nearest_{key}": field for key, field in reference_names[number].items()
            }
            yield {**common, **name, "value": float(value), "ratio": float(ratio), **training_slice}


def _closeness(rows: Sequence[Record]) -> Closeness:
    return Closeness(*(np.array([row[name] for row in rows]) for name in ("value", "ratio")))


def _set_and_space(rows: Sequence[Record]) -> Record:
    return {name: rows[0][name] for name in ("test_data", "split", "space")}


def _percentiles(rows: Sequence[Record]) -> Iterator[Record]:
    found = _closeness(rows)
    values = {name: np.percentile(found.distance, percent) for name, percent in _PERCENTILES.items()}
    values |= {_SMALLEST_RATIO: np.min(found.ratio), _MEDIAN_RATIO: np.median(found.ratio)}
    for name, value in values.items():
        yield {**_set_and_space(rows), "metric": name, "value": float(value), "count": len(rows)}


def _not_searched(synthetic: prepared.PreparedData, real: prepared.PreparedData) -> int:
    """Patients that the generators saw and that are not in the real training split."""
    return len(leaks.seen_patients([synthetic.record]) - leaks.seen_patients([real.record]))


def _verdict(found: Sequence[Record], unseen: Sequence[Record], not_searched: int) -> Iterator[Record]:
    check = CopyCheck(_closeness(found), _closeness(unseen))
    sentence = check.sentence()
    if not_searched:
        sentence += f" {not_searched} patients that the generators saw are not in the real data set: not searched."
    for name, value in {
        SHARE_CLOSE: check.share_close,
        SHARE_ONE_PATIENT: check.share_one_patient,
        VERDICT: sentence,
    }.items():
        yield {**_set_and_space(found), "metric": name, "value": value, "count": len(found)}


def _table(rows: Sequence[Record]) -> report.Table:
    columns = (*_PERCENTILES, SHARE_CLOSE, _SMALLEST_RATIO, _MEDIAN_RATIO, SHARE_ONE_PATIENT)
    lines: dict[tuple[str, str], dict[str, Record]] = {}
    for row in rows:
        lines.setdefault((row["space"], name_of(row)), {})[row["metric"]] = row
    body = [
        [*key, line["median"]["count"], *(f"{line[name]['value']:.4g}" if name in line else "–" for name in columns)]
        for key, line in lines.items()
    ]
    verdicts = (f"{name_of(row)}, {row['space']}: {row['value']}" for row in rows if row["metric"] == VERDICT)
    side = slice_descriptions.SIDE
    caption = (
        f"{' '.join(verdicts)} {COPY_RULE} Distances are to real training slices and their mirror images. Image: root "
        f"mean squared difference in the head, all modalities, averaged to at most {side} pixels a side. Features: of "
        "the segmenters, averaged over the slice. Structure map: of the maps, averaged likewise."
    )
    return report.Table(["space", "set", "n", *columns], body, caption)


def _closest_table(rows: Sequence[Record]) -> report.Table:
    header = ("space", "set", "sample", "distance", "ratio", "training case", "slice", "modality", "mirrored")
    body = [
        [
            *(row["space"], name_of(row), row["case"], row["value"], row["ratio"]),
            *(row["nearest_case"], row["nearest_slice"], row["nearest_modality"], "yes" if row["mirrored"] else "no"),
        ]
        for row in rows
    ]
    return report.Table(header, body, f"The {_CLOSEST_PAIRS} synthetic slices closest to a training slice.")


def report_figures(request: Request, rows: Sequence[Record]) -> list[report.Figure]:
    """Distances to the nearest training slice, a figure for each space."""
    real = data_name(request.real)
    rows = [row for row in rows if row["metric"] == NEAREST_DISTANCE]
    pictures = []
    for space in dict.fromkeys(row["space"] for row in rows):
        distances, unseen = {}, []
        for row in rows:
            if row["space"] == space:
                distances.setdefault(name_of(row), []).append(row["value"])
                unseen += [row["value"]] if row["test_data"] == real else []
        marks = {"1st percentile of unseen real ones": float(np.percentile(unseen, 1))} if unseen else {}
        picture = plots.histograms(
            {name: np.array(values) for name, values in distances.items()}, f"distance ({space})", marks
        )
        pictures.append(report.Figure(picture, f"Distance to the nearest real training slice: {space}."))
    return pictures
