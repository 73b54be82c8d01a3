"""Makes the synthetic data set: noise and labels to filtered, registered slices (paper §2.8, method §4, §7)."""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import commands, configs, constants, contour_filter, fusion, generators, metrics, prepared, training

# Labels tried for each map, and transforms drawn with them, before the map is given up.
_LABEL_TRIES = 16


class GenerationError(commands.UserError):
    """The filters accept too few samples to reach the wanted number."""


@dataclasses.dataclass(frozen=True)
class LabelPool:
    """Real labels to draw from.

    Attributes:
      labels: uint8 [N, H, W, 1].
      sources: N texts, case id and slice index.
    """

    labels: tf.Tensor
    sources: list[str]

    @classmethod
    def of(cls, data: prepared.PreparedData) -> "LabelPool":
        """The labels of a data set's training split."""
        examples = [e for e in data.slices("train").as_numpy_iterator() if e["has_label"]]
        if not examples:
            raise prepared.PreparedDataError(f"{data.path} has no labels in its train split.")
        sources = [f"{e['case_id'].decode()}:{e['slice_index']}" for e in examples]
        return cls(tf.constant(np.stack([e["label"] for e in examples])), sources)


class Generation:
    """One run of the trained generators. Iterating makes the accepted samples.

    Sample number d depends on (seed, d) and the models alone, so each can be made again.

    Args:
      workdir: holds the trained stages.
      labels_from: prepared data set whose training labels are placed into the maps.
      count: number of samples wanted.
      config: its `generation`, `augmentation` and `runtime.seed` are used; the rest comes from the work directory.

    Attributes:
      data: slice geometry, modalities and classes.
      provenance: thresholds, acceptance counts, checkpoint hashes; complete after the iteration.
    """

    def __init__(self, workdir: str, labels_from: str, count: int, config: configs.Config):
        label_data = prepared.open_prepared(labels_from)
        self._structure_gan, structure_config = training.load(constants.STRUCTURE, workdir)
        self._modality_gan, synthesis_config = training.load(constants.SYNTHESIS, workdir)
        self.data = synthesis_config.data
        owner = f"the models in {workdir}"
        prepared.require_same_geometry(label_data, self.data, owner)
        self._segmenter, stages = None, {constants.STRUCTURE: structure_config, constants.SYNTHESIS: synthesis_config}
        if config.generation.dice_threshold > 0:
            self._segmenter, stages[constants.SEGMENTATION] = training.load(constants.SEGMENTATION, workdir)
        for stage, stage_config in stages.items():
            differing = prepared.geometry_differences(stage_config.data, self.data, "the synthesis stage")
            if differing:
                raise training.WorkDirError(f"The {stage} stage in {workdir} does not fit: {'; '.join(differing)}.")
        self._pool = LabelPool.of(label_data)
        self._count, self._config = count, config
        self._counts = collections.Counter()
        self._static = {
            "seed": config.runtime.seed,
            "labels_from": label_data.record,
            "trained_on": {stage: training.trained_on(stage, workdir) for stage in stages},
            "settings": dataclasses.asdict(config.generation),
            "augmentation": dataclasses.asdict(config.augmentation),
            "checkpoints": checkpoint_hashes(workdir),
        }

    @property
    def provenance(self) -> dict[str, Any]:
        drawn, closed = self._counts["drawn"], self._counts["closed"]
        synthesised, kept = self._counts["synthesised"], self._counts["kept"]
        return {
            **self._static,
            "drawn": drawn,
            "passed_structure_filter": closed,
            "structure_acceptance": closed / max(drawn, 1),
            "found_label": self._counts["labelled"],
            "synthesised": synthesised,
            "passed_lesion_filter": kept,
            "lesion_acceptance": kept / max(synthesised, 1),
        }

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for index, sample in zip(range(self._count), self._samples(), strict=False):
            yield self._example(index, sample)

    def _samples(self) -> Iterator[dict[str, np.ndarray]]:
        settings = self._config.generation
        for batch in self._full_batches():
            images = self._synthesize(batch)
            dice = self._agreement(images, batch["label"])
            for row in range(settings.batch_size):
                self._counts["synthesised"] += 1
                if dice is None or np.mean(dice[row]) >= settings.dice_threshold:
                    self._counts["kept"] += 1
                    sample = {name: values[row] for name, values in batch.items()}
                    yield {**sample, "images": images[row], "dice": _row_or_nan(dice, row, self.data.num_modalities)}

    def _full_batches(self) -> Iterator[dict[str, np.ndarray]]:
        """Batches of maps that passed Algorithm 3, each with a label that fits."""
        size, waiting = self._config.generation.batch_size, []
        while True:
            self._require_progress()
            maps = self._draw_maps(self._counts["drawn"])
            self._counts["drawn"] += size
            accepted = maps["mask_error"] <= self._config.generation.mask_error
            self._counts["closed"] += int(accepted.sum())
            labelled = self._place_labels(maps)
            chosen = accepted & labelled.pop("found")
            self._counts["labelled"] += int(chosen.sum())
            table = {**maps, **labelled}
            waiting += [{name: values[row] for name, values in table.items()} for row in np.flatnonzero(chosen)]
            while len(waiting) >= size:
                rows, waiting = waiting[:size], waiting[size:]
                yield {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def _draw_maps(self, first: int) -> dict[str, np.ndarray]:
        settings = self._config.generation
        numbers = np.arange(first, first + settings.batch_size)
        maps = self._sample_maps(tf.constant(numbers, tf.int32))
        structure, background = (t.numpy().astype(np.uint8) for t in maps)
        errors = contour_filter.mask_errors(structure[..., 0], background[..., 0], settings.filter_blur)
        # Edges outside the head would be drawn into the empty background.
        return {
            "seed": numbers,
            "structure": structure * (1 - background),
            "background": background,
            "mask_error": errors,
        }

    @tf.function
    def _sample_maps(self, numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        codes = tf.map_fn(
            lambda d: tf.random.stateless_normal([self._structure_gan.latent_dim], [self._config.runtime.seed, d]),
            numbers,
            fn_output_signature=tf.float32,
        )
        threshold = self._config.generation.structure_threshold
        return generators.binary_maps(*generators.sample_maps(self._structure_gan, codes, threshold), threshold)

    def _place_labels(self, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        background = tf.constant(maps["background"], tf.float32)
        drawn = self._draw_labels(tf.constant(maps["seed"], tf.int32), background)
        label, choice, transforms, found = (t.numpy() for t in drawn)
        return {"label": label, "label_choice": choice, "label_transform": transforms, "found": found}

    @tf.function
    def _draw_labels(self, numbers: tf.Tensor, background: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """For each map the first of its drawn labels that fits."""
        size, seed = self.data.image_size, self._config.runtime.seed
        choices, transforms = tf.map_fn(
            lambda d: (
                tf.random.stateless_uniform([_LABEL_TRIES], [seed + 1, d], 0, len(self._pool.sources), tf.int32),
                fusion.random_transforms(_LABEL_TRIES, size, self._config.augmentation, tf.stack([seed + 2, d])),
            ),
            numbers,
            fn_output_signature=(tf.int32, tf.float32),
        )
        candidates = tf.gather(self._pool.labels, tf.reshape(choices, [-1]))
        candidates = fusion.transform(candidates, tf.reshape(transforms, [-1, 8]), "NEAREST")
        candidates = tf.reshape(candidates, [-1, _LABEL_TRIES, *size, 1])
        lesion = tf.cast(candidates > 0, tf.float32)
        fitting = tf.reduce_sum(lesion * background[:, None], axis=(2, 3, 4)) < 0.5
        first = tf.argmax(tf.cast(fitting, tf.int32), axis=1)
        picked = [tf.gather(t, first, batch_dims=1) for t in (candidates, choices, transforms)]
        return *picked, tf.reduce_any(fitting, axis=1)

    def _synthesize(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        return self._run_modality_gan(
            tf.constant(batch["seed"], tf.int32),
            tf.constant(batch["structure"], tf.float32),
            tf.constant(batch["background"], tf.float32),
            tf.constant(batch["label"]),
        ).numpy()

    @tf.function
    def _run_modality_gan(self, numbers, structure, background, label) -> tf.Tensor:
        shape, seed = structure.shape[1:], self._config.runtime.seed
        noise = tf.map_fn(
            lambda d: tf.random.stateless_uniform(shape, [seed + 3, d]), numbers, fn_output_signature=tf.float32
        )
        return generators.synthesize(self._modality_gan, structure, background, label, noise)

    def _agreement(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Whole-lesion Dice of the real-trained segmenters against the input label: [B, n], or None without filter."""
        if self._segmenter is None:
            return None
        found = self._segmenter.segment(tf.constant(images)).numpy()
        return np.array(
            [
                [_lesion_dice(label > 0, other > 0) for other in others]
                for label, others in zip(labels, found, strict=True)
            ]
        )

    def _require_progress(self) -> None:
        limit = self._config.generation.max_tries * max(self._count, self._config.generation.batch_size)
        if self._counts["drawn"] >= limit:
            p = self.provenance
            raise GenerationError(
                f"Gave up after {p['drawn']} draws with {p['passed_lesion_filter']} of {self._count} samples: "
                f"{p['structure_acceptance']:.1%} of the maps pass Algorithm 3 and {p['lesion_acceptance']:.1%} of the "
                "samples pass the lesion filter. Train longer, or relax --config.generation.mask_error or "
                "--config.generation.dice_threshold."
            )

    def _example(self, index: int, sample: dict[str, np.ndarray]) -> dict[str, Any]:
        names = self.data.modalities
        images = sample["images"].astype(np.float16)
        return {
            "image": {name: images[i] for i, name in enumerate(names)},
            "available": np.ones(len(names), bool),
            "label": sample["label"],
            "has_label": True,
            "case_id": f"synthetic_{index:07d}",
            "patient_id": f"synthetic_{index:07d}",
            "slice_index": 0,
            "structure": sample["structure"],
            "background": sample["background"],
            "seed": int(sample["seed"]),
            "label_source": self._pool.sources[int(sample["label_choice"])],
            "label_transform": sample["label_transform"],
            "mask_error": sample["mask_error"],
            "dice": sample["dice"].astype(np.float32),
        }


def checkpoint_hashes(workdir: str | pathlib.Path) -> dict[str, str]:
    """SHA-256 of each trained stage's newest weights, by stage."""
    hashes = {}
    for stage in constants.STAGES:
        newest = tf.train.latest_checkpoint(str(pathlib.Path(workdir) / stage / "checkpoints"))
        if newest:
            digest = hashlib.sha256()
            for path in sorted(pathlib.Path(newest).parent.glob(pathlib.Path(newest).name + ".*")):
                digest.update(path.read_bytes())
            hashes[stage] = digest.hexdigest()
    return hashes


def _lesion_dice(reference: np.ndarray, found: np.ndarray) -> float:
    """Dice, 1 where neither has a lesion: nothing asked for and nothing found is agreement."""
    value = metrics.dice(reference, found)
    return 1.0 if np.isnan(value) else value


def _row_or_nan(dice: np.ndarray | None, row: int, count: int) -> np.ndarray:
    return np.full(count, np.nan) if dice is None else dice[row]
