"""Nearest-neighbour searches among training slices: aligned images, features, structure maps (method §8)."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from mmsynth_tf.experiments.memorisation import slice_descriptions
from mmsynth_tf.experiments.memorisation.slice_descriptions import Describe, names_of
from mmsynth_tf.experiments.slice_sets import STRUCTURE_MAP, SliceSet, head_share
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.metrics.aligned_nearest import AlignedSearch, check_copies
from mmsynth_tf.metrics.alignment import Details
from mmsynth_tf.metrics.nearest import Closeness, CopyCheck, Described, nearest
from mmsynth_tf.storage.records import Record

IMAGE, FEATURES = "image", "features"
# Smallest area of a head, as a share of the largest training head. Smaller heads show too little detail: at the crown,
# slices of two patients can be as alike as a slice and its copy (docs/experiments/copy_audit.md).
LEAST_HEAD = 0.35


class Search(Protocol):
    """A nearest-neighbour search in one space. Training slices are read at the first search."""

    def nearest(self, source: SliceSet) -> Iterator[Record]:
        """One record for each slice (or structure map): `value` (distance), `ratio`, and the nearest training slice."""

    def left_out(self) -> Iterator[Record]:
        """The same for training slices among other patients; empty where such distances are not informative."""

    def check(self, found: Closeness, chance: Closeness) -> CopyCheck:
        """The verdict in this space."""


def searches(request: Request, train: SliceSet) -> dict[str, Search]:
    """The search in each space; models are loaded at the first search in a space."""
    return {
        IMAGE: MovedSearch(train),
        FEATURES: UnmovedSearch(train, lambda: slice_descriptions.feature_description(request)),
        STRUCTURE_MAP: UnmovedSearch(train, lambda: slice_descriptions.map_description(request)),
    }


def with_detail(train: SliceSet, *others: SliceSet) -> list[SliceSet]:
    """The sets without slices whose heads are too small to recognise a copy (`LEAST_HEAD`); training slices first."""
    shares = train.slices().map(head_share).as_numpy_iterator()
    least = LEAST_HEAD * float(max(shares, default=0.0))
    return [dataclasses.replace(source, least_head=least) for source in (train, *others)]


class MovedSearch:
    """Compares images; finds copies that were mirrored, rotated, scaled, shifted, blurred or changed in contrast."""

    def __init__(self, train: SliceSet):
        self._train = train

    @functools.cached_property
    def _reference(self) -> tuple[Details, list[Record]]:
        parts, names = [], []
        for batch in self._train.batches():
            parts.append(_details(batch))
            names += names_of(batch)
        return Details.join(parts), names

    @functools.cached_property
    def _patients(self) -> list[str]:
        return [name["patient"] for name in self._reference[1]]

    @functools.cached_property
    def _search(self) -> AlignedSearch:
        return AlignedSearch(self._reference[0], self._patients)

    def nearest(self, source: SliceSet) -> Iterator[Record]:
        for batch in source.batches():
            yield from self._rows(names_of(batch), _details(batch))

    def left_out(self) -> Iterator[Record]:
        details, names = self._reference
        if len(set(self._patients)) > 1:
            yield from self._rows(names, details, self._patients)

    def check(self, found: Closeness, chance: Closeness) -> CopyCheck:
        return check_copies(found, chance)

    def _rows(self, names: list[Record], details: Details, patients: list[str] | None = None) -> Iterator[Record]:
        found = self._search.nearest(details, patients)
        columns = (found.closeness.distance, found.closeness.ratio, found.index, found.mirrored, found.turned)
        for name, value, ratio, index, mirrored, turned in zip(names, *columns, strict=True):
            training_slice = {**self._reference[1][index], "mirrored": bool(mirrored)}
            yield {**name, **_row(value, ratio, training_slice), "turned": round(float(turned), 1)}


class UnmovedSearch:
    """Compares slices and their mirror images without alignment."""

    def __init__(self, train: SliceSet, make_describe: Callable[[], Describe]):
        self._train, self._make_describe = train, make_describe

    @functools.cached_property
    def _describe(self) -> Describe:
        return self._make_describe()

    @functools.cached_property
    def _reference(self) -> tuple[Described, list[Record]]:
        return slice_descriptions.describe_training(self._train, self._describe)

    def nearest(self, source: SliceSet) -> Iterator[Record]:
        reference, reference_names = self._reference
        names: list[Record] = []

        def queries() -> Iterator[Described]:
            for batch in source.batches():
                described, own_names = self._describe(batch)
                names.extend(own_names)
                yield described

        found, index = nearest(queries(), reference, [name["patient"] for name in reference_names])
        for name, value, ratio, number in zip(names, found.distance, found.ratio, index, strict=True):
            yield {**name, **_row(value, ratio, reference_names[number])}

    def left_out(self) -> Iterator[Record]:
        return iter(())  # Features of training slices differ from those of new slices, so they give no reference.

    def check(self, found: Closeness, chance: Closeness) -> CopyCheck:
        return CopyCheck(found, chance)


def _details(batch: slice_descriptions.Batch) -> Details:
    return Details.of(batch["image"][..., 0], batch["available"])


def _row(value: np.floating, ratio: np.floating, training_slice: Record) -> Record:
    nearest_slice = {key if key == "mirrored" else f"nearest_{key}": field for key, field in training_slice.items()}
    return {"value": float(value), "ratio": float(ratio), **nearest_slice}
