"""Measures one unit: trains a joint segmenter on one row's slices and scores it on patients kept apart."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import presets
from mmsynth_tf.errors import UserError, WorkDirError
from mmsynth_tf.experiments.segmentation_gain import rows, slices, training
from mmsynth_tf.experiments.segmentation_gain.rows import Row
from mmsynth_tf.experiments.segmentation_gain.slices import Fold, Slices
from mmsynth_tf.experiments.segmentation_gain.units import Units
from mmsynth_tf.experiments.study import Request
from mmsynth_tf.generation import lesion_samples, lesion_slices
from mmsynth_tf.metrics.segmentation import DICE, OVERLAP_METRICS, region_metrics
from mmsynth_tf.reading import splits
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder

# Raise it when the network, its training, its augmentation, pasting or painting changes, so that scores change.
SEGMENTER_VERSION = 2
STEPS = 3_000
TRAINING_SET = "training set"  # Patient field of records that describe a training set.
ALL = "all"  # The field `given` of records of all modalities.
# Number of slices with pasted or painted lesions as a multiple of the real ones, so that few are drawn twice.
_DRAWN = 3


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What all units of a study share.

    Attributes:
      everyone: all labelled slices of the patients.
      data: settings of the slices.
      settings: `steps`, `base_filters` and `levels` of the segmenters.
      split: "test", or "validation" for design decisions, see `slices.folds`.
    """

    everyone: Slices
    data: configs.DataConfig
    settings: configs.SegmentationConfig
    split: str

    @classmethod
    def of(cls, request: Request) -> "Inputs":
        """Reads the patients of `request.real`. The work directory's segmenters or the preset cpu give the sizes.

        Raises:
          UserError: there are no labelled slices, or --train_data is given.
          PreparedDataError: the data sets do not fit together.
        """
        if request.trained_on:
            raise UserError("This experiment divides the patients of --test_data into folds. Leave --train_data out.")
        for data in request.synthetic:
            prepared.require_same_geometry(data, request.real.config, str(request.real.path))
        try:
            config = run_folder.read_config(request.workdir / constants.SEGMENTATION)
        except WorkDirError:
            config = presets.preset("cpu")
        settings = dataclasses.replace(config.segmentation, steps=request.steps or STEPS)
        return cls(slices.read_slices(request.real), request.real.config, settings, request.split)

    @property
    def folds(self) -> list[Fold]:
        return slices.folds(self.everyone.patient.tolist(), self.split)

    @property
    def used(self) -> dict[str, int]:
        """The settings that scores depend on."""
        return {name: getattr(self.settings, name) for name in ("steps", "base_filters", "levels")}

    def identity(self) -> dict[str, str | int]:
        """What units must share to belong to one study, on whatever machine they were measured.

        Slices are compared by cases, patients, indices and labels. Their images follow from the cases and the settings
        of the data.
        """
        everyone = self.everyone.of(np.unique(self.everyone.patient))
        content = hashlib.sha256(json.dumps([prepared.geometry(self.data), self.data.regions]).encode())
        for name in ("case", "patient"):
            content.update(json.dumps(getattr(everyone, name).tolist()).encode())
        for array in (everyone.number, everyone.label):
            content.update(array.tobytes())
        numbers = {"segmenter": SEGMENTER_VERSION, "folds": splits.FOLDS}
        return {**numbers, "split": self.split, "slices": content.hexdigest()[:16], **self.used}


def unit(
    units: Units, row: Row, fold: Fold, seed: int, sets: Sequence[prepared.PreparedData], inputs: Inputs
) -> list[Record]:
    """The records of a row, a fold and a seed: measured if `units` does not have them."""
    name = "_".join([f"seed{seed}", row.name, f"fold{fold.number}", *hashes(sets)])
    return units.part(name, lambda: measure(row, fold, seed, sets, inputs))


def hashes(sets: Sequence[prepared.PreparedData]) -> list[str]:
    """A short text for each set, for file names."""
    return [hashlib.sha256(json.dumps(data.record, sort_keys=True).encode()).hexdigest()[:8] for data in sets]


def measure(
    row: Row, fold: Fold, seed: int, sets: Sequence[prepared.PreparedData], inputs: Inputs, subsets: bool = True
) -> Iterator[Record]:
    """Trains and scores one unit: records of each region's prevalence, then of each case, region and metric.

    Args:
      row: the training set.
      fold: its patients.
      seed: of all random numbers.
      sets: synthetic sets of the row's kind.
      inputs: the patients' slices and the settings.
      subsets: also segment from one modality alone and without one, for each modality (field `given`).
    """
    own, tested, data = inputs.everyone.of(fold.training), inputs.everyone.of(fold.tested), inputs.data
    parts = _training_sets(row, own, sets, seed)
    model = training.train(parts, row.augmentation, data.num_classes, inputs.settings, seed)
    common = {"row": row.name, "fold": fold.number, "seed": seed, **inputs.used}
    for region, share in _prevalence(parts, data).items():
        nobody = {"patient": TRAINING_SET, "case": "", "given": ""}
        yield {**common, **nobody, "region": region, "metric": "prevalence", "value": share}
    patients = dict(zip(tested.case.tolist(), tested.patient.tolist(), strict=True))
    for given, kept in given_modalities(data.modalities).items():
        if given != ALL and not subsets:
            continue
        images = tested.image * np.array(kept, tested.image.dtype)
        for case, reference, found in training.segmented(model, dataclasses.replace(tested, image=images)):
            if not images[tested.case == case].any():
                continue  # The case has none of these modalities.
            key = {**common, "patient": patients[case], "case": case, "given": given}
            for region, values in region_metrics(reference, found, data.regions).items():
                for name in OVERLAP_METRICS if given == ALL else (DICE,):
                    yield {**key, "region": region, "metric": name, "value": values[name]}


def given_modalities(names: Sequence[str]) -> dict[str, list[bool]]:
    """The subsets of modalities that are scored: name to which modalities are given.

    All of them, each alone, and all but each; equal subsets once.
    """
    subsets = {
        ALL: [True] * len(names),
        **{name: [other == name for other in names] for name in names},
        **{f"without {name}": [other != name for other in names] for name in names},
    }
    first = {tuple(kept): name for name, kept in reversed(subsets.items())}
    return {name: kept for name, kept in subsets.items() if any(kept) and first[tuple(kept)] == name}


def _training_sets(
    row: Row, own: Slices, synthetic: Sequence[prepared.PreparedData], seed: int
) -> list[training.Examples]:
    """The training sets that each fill an equal part of every batch."""
    parts = [(own.image, own.label)] if row.real else []
    if row.further in rows.DRAWN and not synthetic:
        kind = rows.DRAWN[row.further]
        drawing = lesion_samples.drawing(kind, own.image, own.label, own.position, own.patient.tolist(), seed)
        drawn = lesion_slices.draw_all(drawing, _DRAWN * len(own.label))
        parts.append((drawn.image, drawn.label))
    elif row.further:
        read = [slices.read_slices(data, ["train"]) for data in synthetic]
        parts.append(tuple(np.concatenate([getattr(x, name) for x in read]) for name in ("image", "label")))
    return parts


def _prevalence(parts: Sequence[training.Examples], data: configs.DataConfig) -> Mapping[str, float]:
    """Prevalence of each region in a batch: the mean over its parts, which have equal size."""
    each = [slices.prevalence(label, data.regions) for _, label in parts]
    return {region: float(np.mean([shares[region] for shares in each])) for region in data.regions}
