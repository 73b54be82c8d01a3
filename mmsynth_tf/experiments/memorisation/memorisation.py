"""Tests whether synthetic slices are copies of training slices (method §8).

For each synthetic slice it finds the nearest real training slice in three spaces. The same search between real slices
of different patients gives the distances expected by chance.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from mmsynth_tf import constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import leaks
from mmsynth_tf.experiments.memorisation.searches import LEAST_HEAD, Search, searches, with_detail
from mmsynth_tf.experiments.slice_sets import name_of, sources
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.metrics.nearest import COPY_RULE, Closeness
from mmsynth_tf.reports import plots, report
from mmsynth_tf.storage.records import Record

NEAREST_DISTANCE = "nearest distance"
SHARE_CLOSE = "share below 1st percentile of real"
SHARE_ONE_PATIENT = "share with ratio below 1st percentile of real"
VERDICT = "verdict"

_PERCENTILES = {"smallest": 0, "1st percentile": 1, "5th percentile": 5, "median": 50}
_SMALLEST_RATIO, _MEDIAN_RATIO = "smallest ratio", "median ratio"
_CLOSEST_PAIRS = 20  # Of each set and space.


def run(request: Request) -> dict[str, report.Table]:
    """Searches the nearest training slices of synthetic slices and, among other patients, of real ones; and a verdict.

    It searches in all spaces, or only in those named in `request.rows`.

    Raises:
      UserError: an unknown space.
      PreparedDataError: a data set does not fit the models.
      LeakError: patients of the tested split were used in training, so they are not unseen.
    """
    train, unseen, synthetic = sources(request)
    train, unseen, *synthetic = with_detail(train, unseen, *synthetic)
    by_space = searches(request, train)
    unknown = sorted(set(request.rows) - set(by_space))
    if unknown:
        raise UserError(f"No such space: {', '.join(unknown)}. The spaces are {', '.join(by_space)}.")
    study = Study("memorisation", request, (constants.SEGMENTATION, constants.SYNTHESIS))
    rows, summaries, closest = [], [], []
    for space in request.rows or by_space:
        search = by_space[space]
        left_out = _part(study, space, train.key, "_left_out", search.left_out)
        unseen_rows = _part(study, space, unseen.key, "", functools.partial(search.nearest, unseen))
        chance = [*left_out, *unseen_rows]
        rows += chance
        summaries += [summary for found in (left_out, unseen_rows) if found for summary in _percentiles(found)]
        for source in synthetic:
            found = _part(study, space, source.key, "", functools.partial(search.nearest, source))
            rows += found
            not_searched = _not_searched(source.data, request.training)
            summaries += [*_percentiles(found), *_verdict(search, found, chance, not_searched)]
            closest += sorted(found, key=lambda row: row["value"])[:_CLOSEST_PAIRS]
    summaries = [{"experiment": study.name, **row} for row in summaries]
    return study.finish(rows + summaries, {"table": _table(summaries), "closest_pairs": _closest_table(closest)})


def _part(
    study: Study, space: str, key: Mapping[str, str], suffix: str, measure: Callable[[], Iterable[Record]]
) -> list[Record]:
    """Distances of one set in one space; read from disk if they were computed before."""
    common = {**key, "space": space, "metric": NEAREST_DISTANCE}
    name = f"{space.replace(' ', '_')}_{key['test_data']}_{key['split']}{suffix}"
    return study.part(name, lambda: ({**common, **row} for row in measure()))


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
    """Number of the generators' training patients that are not in the real training split."""
    return len(leaks.seen_patients([synthetic.record]) - leaks.seen_patients([real.record]))


def _verdict(search: Search, found: Sequence[Record], chance: Sequence[Record], not_searched: int) -> Iterator[Record]:
    check = search.check(_closeness(found), _closeness(chance))
    sentence = check.sentence()
    if not_searched:
        sentence += (
            f" Not searched: {not_searched} training patients of the generators, who are not in the real data set."
        )
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
    caption = (
        f"{' '.join(verdicts)} {COPY_RULE} Image: 1 minus the correlation of the fine detail of all modalities, for "
        "any contrast and after alignment (mirror, rotation, scale, shift). Training slices are compared with those of "
        "other patients. Features: segmenter features, averaged over the slice. Structure map: root mean squared "
        "difference of the unaligned maps. Features and maps are also compared mirrored. Slices whose head is smaller "
        f"than {LEAST_HEAD:.0%} of the largest training head are left out: they show too little to tell a copy."
    )
    return report.Table(["space", "set", "n", *columns], body, caption)


def _closest_table(rows: Sequence[Record]) -> report.Table:
    header = ("space", "set", "sample", "distance", "ratio", "training case", "slice", "modality", "mirrored", "turned")
    body = [
        [
            *(row["space"], name_of(row), row["case"], row["value"], row["ratio"]),
            *(
                row["nearest_case"],
                row["nearest_slice"],
                row["nearest_modality"],
                "yes" if row["mirrored"] else "no",
                row.get("turned", "–"),
            ),
        ]
        for row in rows
    ]
    return report.Table(header, body, f"The {_CLOSEST_PAIRS} synthetic slices closest to a training slice.")


def report_figures(request: Request, rows: Sequence[Record]) -> list[report.Figure]:
    """Histograms of the distances to the nearest training slice, one figure for each space."""
    real = {data_name(data) for data in (request.real, request.trained_on) if data}
    rows = [row for row in rows if row["metric"] == NEAREST_DISTANCE]
    pictures = []
    for space in dict.fromkeys(row["space"] for row in rows):
        distances, by_chance = {}, []
        for row in rows:
            if row["space"] == space:
                distances.setdefault(name_of(row), []).append(row["value"])
                by_chance += [row["value"]] if row["test_data"] in real else []
        marks = (
            {"1st percentile of real slices against other patients": float(np.percentile(by_chance, 1))}
            if by_chance
            else {}
        )
        picture = plots.histograms(
            {name: np.array(values) for name, values in distances.items()}, f"distance ({space})", marks
        )
        pictures.append(report.Figure(picture, f"Distance to the nearest real training slice: {space}."))
    return pictures
