"""Real slices with a pasted or painted lesion, in the form of synthetic samples; no model takes part."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.algorithms import fusion
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import anatomy, lesion_slices, painting, pasting, sampling

_MODALITY = 1  # Stream of random numbers, beside that of the lesions.


class LesionGeneration:
    """Makes samples as `sampling.Generation` does; sample d depends on the seed, d and the slices alone.

    Args:
      kind: `constants.PASTED` or `PAINTED`.
      labels_from: prepared data set of real patients, whose training slices are used.
      config: its `structure_map`, `generation.batch_size` and `runtime.seed` are used.

    Attributes:
      data, settings, draws_per_block, identity: as those of `sampling.Generation`.

    Raises:
      UserError: the data set is synthetic, or no training slice has a lesion to move.
      PreparedDataError: no training slice has a label and all modalities.
    """

    def __init__(self, kind: str, labels_from: str | pathlib.Path, config: configs.Config):
        data = prepared.open_prepared(labels_from)
        if data.record["source"] == "synthetic":
            raise UserError(f"{labels_from} is a synthetic data set; give one of real patients to --labels_from.")
        images, self._pool = anatomy.labelled_slices(data)
        self.data, self._seed, self._structure_map = data.config, config.runtime.seed, config.structure_map
        # A view, so that the images stay on disk.
        slices = np.moveaxis(images[..., 0], 1, -1), self._pool.labels.numpy()[..., 0]
        patients = self._pool.patients(data.record["patients"])
        self._drawing = drawing(kind, *slices, self._pool.positions, patients, self._seed)
        self.settings = dataclasses.replace(config.generation, real_anatomy=True, dice_threshold=0.0)
        self.draws_per_block = sampling.BATCHES_PER_BLOCK * self.settings.batch_size
        self.identity = {
            "lesions": kind,
            "seed": self._seed,
            "draws_per_block": self.draws_per_block,
            "labels_from": data.record,
            "label_pool": self._pool.fingerprint(),
            "trained_on": {},
            "settings": dataclasses.asdict(self.settings),
            "structure_map": dataclasses.asdict(config.structure_map),
            "augmentation": {},
            "checkpoints": {},
            "made_with": sampling.made_with(),
        }

    def block(self, number: int, counts: collections.Counter) -> Iterator[dict[str, Any]]:
        """Makes a block; every draw becomes a sample. Arguments and yields as for `sampling.Generation.block`."""
        first = number * self.draws_per_block
        for draw in range(first, first + self.draws_per_block):
            counts.update(dict.fromkeys(("drawn", "closed", "typical", "labelled", "synthesised", "agreed", "kept"), 1))
            yield self.remake(draw)

    def remake(self, draw: int) -> dict[str, Any]:
        """The sample of one draw."""
        names, drawn = self.data.modalities, self._drawing.draw(draw)
        images = np.moveaxis(drawn.image, -1, 0)[..., None]
        shown = images[np.random.default_rng([self._seed, draw, _MODALITY]).integers(len(names))]
        label, structure, background = self._map_of(
            tf.constant(shown[None], tf.float32), tf.constant(drawn.label[None, ..., None])
        )
        nothing = np.full(len(names), np.nan, np.float32)
        return {
            "image": dict(zip(names, images, strict=True)),
            "available": np.ones(len(names), bool),
            "label": label.numpy()[0],
            "has_label": True,
            "case_id": sampling.case_id(draw),
            "patient_id": sampling.case_id(draw),
            "slice_index": 0,
            "position": self._pool.positions[drawn.recipient],
            "structure": structure.numpy()[0].astype(np.uint8),
            "background": background.numpy()[0].astype(np.uint8),
            "seed": draw,
            "label_source": self._pool.sources[drawn.donor],
            "label_transform": drawn.transform,
            "anatomy_source": self._pool.sources[drawn.recipient],
            "mask_error": np.float32(np.nan),
            "map_similarity": np.float32(np.nan),
            "dice": nothing,
        }

    @tf.function(autograph=False)
    def _map_of(self, shown: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return fusion.own_map(shown, label, self._structure_map)


def drawing(
    kind: str, image: np.ndarray, label: np.ndarray, positions: np.ndarray, patients: Sequence[str], seed: int
) -> lesion_slices.Drawing:
    """What draws slices with lesions of a kind; arguments as for `painting.Painting`."""
    if kind == constants.PASTED:
        return pasting.Pasting(image, label, positions, seed)
    return painting.Painting(image, label, positions, patients, seed)
