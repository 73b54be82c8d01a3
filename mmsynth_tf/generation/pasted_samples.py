"""Samples with real lesions pasted into other real slices, in the form of synthetic samples; no model takes part."""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, prepared
from mmsynth_tf.algorithms import fusion
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import anatomy, pasting, sampling

_MODALITY = 1  # Stream of random numbers, beside that of `pasting`.


class PastedGeneration:
    """Makes samples as `sampling.Generation` does; sample d depends on the seed, d and the slices alone.

    Args:
      labels_from: prepared data set of real patients, whose training slices are used.
      config: its `structure_map`, `generation.batch_size` and `runtime.seed` are used.

    Attributes:
      data, settings, draws_per_block, identity: as those of `sampling.Generation`.

    Raises:
      UserError: the data set is synthetic, or no training slice has a lesion.
      PreparedDataError: no training slice has a label and all modalities.
    """

    def __init__(self, labels_from: str | pathlib.Path, config: configs.Config):
        data = prepared.open_prepared(labels_from)
        if data.record["source"] == "synthetic":
            raise UserError(f"{labels_from} is a synthetic data set; give one of real patients to --labels_from.")
        images, self._pool = anatomy.labelled_slices(data)
        self.data, self._seed, self._structure_map = data.config, config.runtime.seed, config.structure_map
        # A view, so that the images stay on disk.
        self._pasting = pasting.Pasting(
            np.moveaxis(images[..., 0], 1, -1), self._pool.labels.numpy()[..., 0], self._seed
        )
        self.settings = dataclasses.replace(config.generation, real_anatomy=True, dice_threshold=0.0)
        self.draws_per_block = sampling.BATCHES_PER_BLOCK * self.settings.batch_size
        self.identity = {
            "pasted": True,
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
            counts.update(dict.fromkeys(("drawn", "closed", "typical", "labelled", "synthesised", "kept"), 1))
            yield self.remake(draw)

    def remake(self, draw: int) -> dict[str, Any]:
        """The sample of one draw."""
        names, pasted = self.data.modalities, self._pasting.draw(draw)
        images = np.moveaxis(pasted.image, -1, 0)[..., None]
        shown = images[np.random.default_rng([self._seed, draw, _MODALITY]).integers(len(names))]
        label, structure, background = self._map_of(
            tf.constant(shown[None], tf.float32), tf.constant(pasted.label[None, ..., None])
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
            "position": self._pool.positions[pasted.recipient],
            "structure": structure.numpy()[0].astype(np.uint8),
            "background": background.numpy()[0].astype(np.uint8),
            "seed": draw,
            "label_source": self._pool.sources[pasted.donor],
            "label_transform": pasted.transform,
            "anatomy_source": self._pool.sources[pasted.recipient],
            "mask_error": np.float32(np.nan),
            "map_similarity": np.float32(np.nan),
            "dice": nothing,
        }

    @tf.function(autograph=False)
    def _map_of(self, shown: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return fusion.own_map(shown, label, self._structure_map)
