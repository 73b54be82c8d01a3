"""Compares what nnU-Net predicts for the test slices of a prepared set with their labels, patient by patient.

    python -m tools.studies.nnunet_scores data/brats predicted/ scores/real.csv

`mmsynth nnunet` wrote the slices of `data/brats`, and `nnUNetv2_predict` the predictions. The slices of a case count
together, as in the project's own experiments. The printed table has a row for each CSV file in the folder of the
output. `tools/studies/nnunet_17_cases.sh` does all of this on real cases.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from mmsynth_tf import prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.segmentation_gain.gain_tables import interval
from mmsynth_tf.metrics.segmentation import OVERLAP_METRICS, region_metrics
from mmsynth_tf.metrics.statistics import estimate
from mmsynth_tf.patients import nnunet
from mmsynth_tf.reading import volumes
from mmsynth_tf.reading.splits import TEST
from mmsynth_tf.reports.report import Table
from mmsynth_tf.storage import records
from mmsynth_tf.storage.records import Record
from tools.studies import cells


def main(data: str, predictions: str, output: str) -> None:
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    records.write_csv(path, list(measure(prepared.open_prepared(data), Path(predictions))))
    result = table({other.stem: cells.read(other) for other in sorted(path.parent.glob("*.csv"))})
    print(f"{result.caption}\n\n{result.markdown()}")


def measure(data: prepared.PreparedData, predictions: Path) -> Iterator[Record]:
    """A record for each test case and region.

    Raises:
      UserError: a slice has no prediction.
    """
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for example in data.slices(TEST).as_numpy_iterator():
        path = predictions / f"{nnunet.slice_name(data, example)}.nii.gz"
        if not path.exists():
            raise UserError(f"{path} is missing. Predict all slices of imagesTs with nnUNetv2_predict.")
        # Columns run to the left and rows to the back: [x, y, 1] -> [rows, columns].
        found = volumes.read_image(path).array[..., 0].T.astype(np.uint8)
        pairs.setdefault(example["case_id"].decode(), []).append((example["label"][..., 0], found))
    for case, slices in pairs.items():
        label, found = (np.stack(column) for column in zip(*slices, strict=True))
        for region, values in region_metrics(label, found, data.config.regions).items():
            yield {"case": case, "region": region, **{name: values[name] for name in OVERLAP_METRICS}}


def table(found: Mapping[str, Sequence[Record]]) -> Table:
    """A row for each set of records by name: Dice of each region."""
    regions = list(dict.fromkeys(r["region"] for rows in found.values() for r in rows))
    lines = []
    for name, rows in found.items():
        dice = [np.array([float(r["dice"]) for r in rows if r["region"] == region]) for region in regions]
        lines.append([name, len(dice[0]), *(interval(estimate(each)) for each in dice)])
    return Table(["trained on", "cases", *regions], lines, "Dice per case: mean [95 % bootstrap interval].")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
