"""Measures how well a segmenter learns from synthetic sets, to choose between them. No test patient is used.

    python -m tools.studies.set_value data/brats lesion_looks.csv data/noise_a data/noise_b

A joint segmenter is trained on each synthetic set alone, as in the experiment segmentation_gain but shorter. It is
scored on the patients of the training and validation splits of the first data set (`data/brats`). The generators
learned from the training patients, so scores on these only compare sets of the same generators. Each set, seed and
patient gives a row. The printed table shows means over seeds and patients.
"""

import dataclasses
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from mmsynth_tf import prepared
from mmsynth_tf.configs import presets
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments.segmentation_gain import slices, training
from mmsynth_tf.metrics.segmentation import DICE, region_metrics
from mmsynth_tf.reading.splits import TRAIN, VALIDATION
from mmsynth_tf.storage import records
from mmsynth_tf.storage.records import Record
from tools.studies import cells

_STEPS, _SEEDS = 1_200, (0, 1)


def main(data: str, output: str, *sets: str) -> None:
    real, found = prepared.open_prepared(data), []
    for path in sets:
        synthetic = prepared.open_prepared(path)
        prepared.require_same_geometry(synthetic, real.config, data)
        for seed in _SEEDS:
            found += measure(real, synthetic, _STEPS, seed)
            records.write_csv(output, found)
    print(table(found, list(real.config.regions)))


def measure(data: prepared.PreparedData, synthetic: prepared.PreparedData, steps: int, seed: int) -> Iterator[Record]:
    """One record for each patient of the training and validation splits, with the Dice of each region."""
    made = slices.read_slices(synthetic, [TRAIN])
    settings = dataclasses.replace(presets.preset("cpu").segmentation, steps=steps)
    model = training.train([(made.image, made.label)], training.STRONG, data.config.num_classes, settings, seed)
    for split in (name for name in (TRAIN, VALIDATION) if data.cases.get(name)):
        for case, reference, found in training.segmented(model, slices.read_slices(data, [split])):
            values = region_metrics(reference, found, data.config.regions)
            dice = {region: round(float(metrics[DICE]), 4) for region, metrics in values.items()}
            yield {"set": synthetic.path.name, "steps": steps, "seed": seed, "split": split, "case": case, **dice}


def table(found: Sequence[Record], regions: Sequence[str]) -> str:
    """The means over seeds and patients, for each set and split."""
    body = []
    for name, split in dict.fromkeys((r["set"], r["split"]) for r in found):
        own = [[r[region] for region in regions] for r in found if (r["set"], r["split"]) == (name, split)]
        means = np.nanmean(np.array(own, float), axis=0)
        body.append((name, split, *map(cells.cell, means), cells.cell(float(means.mean()))))
    return cells.table(("set", "patients", *regions, "mean"), body)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
