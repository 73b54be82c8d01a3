"""Segments whole volumes of patients whom the models do not know, and compares them with their labels.

    python -m tools.studies.segment_volumes --models=models/a --input=BraTS/ --data=data/brats --output=dice/fold0.csv

The cases are those of a split of the prepared data set that the models were trained on. Each is segmented as by
`mmsynth segment`, from all of its modalities, from each alone and from all but each, and compared at the file's own
voxels. The tables that are printed hold all CSV files of the output's folder: a file for each fold, say.
`tools/studies/segment_volumes.sh` does all folds.
"""

import dataclasses
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags

if TYPE_CHECKING:
    from mmsynth_tf.patients.segment import Segment
    from mmsynth_tf.reading.releases import CaseFiles
    from mmsynth_tf.reports.report import Table
    from mmsynth_tf.storage.records import Record

_MODELS = path_flags.define_path("models", None, "Folder with exported models: a joint segmenter.", required=True)
_INPUT = path_flags.define_path("input", None, "Folder with the labelled cases of the data set.", required=True)
_DATA = path_flags.define_path("data", None, "Prepared data set that the models were trained on.", required=True)
_SPLIT = flags.DEFINE_enum("split", "test", ["validation", "test"], "The split whose cases are segmented.")
_OUTPUT = path_flags.define_path("output", None, "CSV file to write; one that exists is kept.", required=True)


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf import prepared
    from mmsynth_tf.patients import files, jobs, segment, slice_models
    from mmsynth_tf.storage import records
    from tools.studies import cells

    output = Path(_OUTPUT.value)
    if not output.exists():
        wanted = prepared.open_prepared(_DATA.value).cases[_SPLIT.value]
        models = slice_models.SliceModels.load(_MODELS.value)
        job = segment.Segment(models)
        cases = [case for case in files.find(Path(_INPUT.value), models.data.modalities) if case.case_id in wanted]
        rows = [row for case in jobs.progress(cases, len(cases)) for row in measure(case, job)]
        output.parent.mkdir(parents=True, exist_ok=True)
        records.write_csv(output, rows)
    for result in tables([row for path in sorted(output.parent.glob("*.csv")) for row in cells.read(path)]):
        print(f"{result.caption}\n\n{result.markdown()}")


def measure(case: "CaseFiles", job: "Segment") -> Iterator["Record"]:
    """A record for each subset of the case's modalities and each region."""
    from mmsynth_tf.experiments.segmentation_gain.measuring import given_modalities
    from mmsynth_tf.metrics.segmentation import OVERLAP_METRICS, region_metrics
    from mmsynth_tf.patients import patient, segment

    data = job.models.data
    one = patient.read(case, data, with_label=True)
    for given, kept in given_modalities(data.modalities).items():
        names = [name for name, is_kept in zip(data.modalities, kept, strict=True) if is_kept and name in case.images]
        if not names:
            continue
        images = {name: case.images[name] for name in names}
        found, entry, seconds = segmented(dataclasses.replace(case, images=images, label=None), job)
        common = {
            "case": case.case_id,
            "given": given,
            "label ml": np.count_nonzero(one.case.label) * segment.voxel_ml(one),
            "found ml": np.count_nonzero(found) * segment.voxel_ml(one),
            "elsewhere ml": elsewhere(one.case.label, found) * segment.voxel_ml(one),
            "share outside training": entry["outside_training"]["share_of_lesion"],
            "seconds": round(seconds, 2),
        }
        for region, values in region_metrics(one.case.label, found, data.regions).items():
            yield {**common, "region": region, **{name: values[name] for name in OVERLAP_METRICS}}


def segmented(case: "CaseFiles", job: "Segment") -> tuple[np.ndarray, "Record", float]:
    """The written label uint8 [x, y, z] in LPS order, the job's record, and its seconds from files to files."""
    from mmsynth_tf.patients import files
    from mmsynth_tf.reading import volumes

    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        entry = job(case, Path(folder))
        seconds = time.monotonic() - began
        return volumes.read_image(Path(folder) / files.label_name(case)).array, entry, seconds


def elsewhere(label: np.ndarray, found: np.ndarray) -> int:
    """Voxels of found lesions that touch no voxel of the label."""
    from mmsynth_tf.patients.segment import lesion_parts

    parts = lesion_parts(found)
    return int(np.count_nonzero(parts) - np.isin(parts, np.unique(parts[(label > 0) & (parts > 0)])).sum())


def tables(records: Sequence["Record"]) -> list["Table"]:
    """Dice of each subset of the modalities, and volumes where all are given."""
    from mmsynth_tf.constants import ALL_MODALITIES
    from mmsynth_tf.experiments.segmentation_gain.gain_tables import interval
    from mmsynth_tf.metrics.statistics import estimate
    from mmsynth_tf.reports.report import Table

    def values(name: str, given: str, region: str) -> np.ndarray:
        return np.array([float(r[name]) for r in records if (r["given"], r["region"]) == (given, region)])

    def dice(given: str) -> list[np.ndarray]:
        return [values("dice", given, region) for region in regions]

    regions = list(dict.fromkeys(r["region"] for r in records))
    scores = [
        [given, len(dice(given)[0]), *(interval(estimate(each)) for each in dice(given))]
        for given in dict.fromkeys(r["given"] for r in records)
    ]
    volumes = [
        [name, *(float(f(values(name, ALL_MODALITIES, regions[0]))) for f in (np.mean, np.median, np.max))]
        for name in ("label ml", "found ml", "elsewhere ml", "share outside training", "seconds")
    ]
    return [
        Table(["given", "cases", *regions], scores, "Dice per case on whole volumes: mean [95 % bootstrap interval]."),
        Table(["all modalities given", "mean", "median", "largest"], volumes, "Lesions found on whole volumes."),
    ]


if __name__ == "__main__":
    program.run(main)
