"""Measures which copies of training slices the audit finds, and what it flags of new slices.

The page is docs/experiments/copy_audit.md; its table is made by

    python -m tools.studies.planted_copies --data_dir=data/brats --output=planted_copies.csv

Every training slice is planted once for each kind of copy. Slices of patients that are not in the training split are
what must not be flagged. The threshold is that of `CopyCheck`, from training slices beside those of other patients.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import flags

from mmsynth_tf import prepared, program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.experiments.memorisation.planted import KINDS, NEW, planted
from mmsynth_tf.experiments.memorisation.searches import with_detail
from mmsynth_tf.experiments.slice_sets import SliceSet
from mmsynth_tf.metrics.aligned_nearest import AlignedSearch, check_copies
from mmsynth_tf.metrics.alignment import Details
from mmsynth_tf.metrics.nearest import Closeness
from mmsynth_tf.reading import splits
from mmsynth_tf.storage import records

_DATA = path_flags.define_path("data_dir", None, "Prepared data set of real patients.", required=True)
_OUTPUT = path_flags.define_path("output", None, "CSV file to write.", required=True)
_EVERY = flags.DEFINE_integer("every", 1, "Plant only every n-th training slice.", lower_bound=1)


def slices_of(source: SliceSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images float32 [N, n, H, W], available modalities bool [N, n] and patients [N] of a set."""
    batches = list(source.batches())
    images, available, patients = (
        np.concatenate([batch[name] for batch in batches]) for name in ("image", "available", "patient_id")
    )
    return images[..., 0], available, patients.astype(str)


def measure(data: prepared.PreparedData, every: int) -> Iterator[records.Record]:
    """One record for each kind of copy, and each kind of new slices."""
    names = (splits.TRAIN, splits.VALIDATION, splits.TEST)
    train, *new = with_detail(*(SliceSet(data, name) for name in names if data.cases.get(name)))
    images, available, patients = slices_of(train)
    details = Details.of(images, available)
    search = AlignedSearch(details, patients)
    chance = search.nearest(details, patients).closeness
    yield _record("training slices beside other patients", "", chance, chance)
    for seed, (kind, changes) in enumerate(KINDS.items()):
        copies = planted(images[::every], changes, seed)
        found = search.nearest(Details.of(copies, available[::every]))
        named = patients[found.index] == patients[::every]
        yield {**_record("copies", kind, found.closeness, chance), "right patient": float(named.mean())}
    for source in new:
        images, available, _ = slices_of(source)
        for seed, (kind, changes) in enumerate(NEW.items()):
            found = search.nearest(Details.of(planted(images, changes, seed), available))
            yield _record(f"new patients ({source.split})", kind, found.closeness, chance)


def _record(slices: str, kind: str, found: Closeness, chance: Closeness) -> records.Record:
    names = ("smallest", "5th percentile", "median", "95th percentile", "largest")
    distances = dict(zip(names, np.percentile(found.distance, (0, 5, 50, 95, 100)).round(4).tolist(), strict=True))
    flagged = check_copies(found, chance).copied
    row = {"slices": slices, "kind": kind, "count": len(flagged), "flagged": float(flagged.mean().round(4))}
    return {**row, **distances, "smallest ratio": float(found.ratio.min().round(4)), "right patient": ""}


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    rows = []
    for row in measure(prepared.open_prepared(Path(_DATA.value)), _EVERY.value):
        rows.append(row)
        records.write_csv(_OUTPUT.value, rows)
        print(row, flush=True)


if __name__ == "__main__":
    program.run(main)
