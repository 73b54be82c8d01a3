"""Generates synthetic samples: filtered, registered slices from noise and labels (paper §2.8, method §4, §7)."""

import collections
import dataclasses
import itertools
import pathlib
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mmsynth_tf import __version__, configs, constants, prepared
from mmsynth_tf.errors import UserError, WorkDirError
from mmsynth_tf.generation import anatomy, lesion_looks
from mmsynth_tf.generation.label_placing import LabelPlacing
from mmsynth_tf.generation.label_pool import LabelPool
from mmsynth_tf.generation.map_filter import MapFilter
from mmsynth_tf.metrics import segmentation
from mmsynth_tf.parallel import map_in_order
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter, as_channels
from mmsynth_tf.stages.structure.gan import StructureGAN
from mmsynth_tf.stages.synthesis import contrast
from mmsynth_tf.training import run_folder, runs
from mmsynth_tf.training.checkpoints import checkpoint_hashes

# A build stops when it needs more draws per sample than this.
MOST_DRAWS_PER_SAMPLE = 50
# Streams of random numbers that a sample's number and the seed give; `anatomy` and `label_placing` have the others.
_NOISE, _CONTRAST, _LOOKS = 3, 4, 9
BATCHES_PER_BLOCK = 8
# Raised when the same draws of the same models give other samples: 2 since some samples without a lesion are dropped,
# 3 since made heads have no holes and labels that do not fit are replaced by labels with a lesion.
_RULES = 3


class GenerationError(UserError):
    """The filters accept too few samples to reach the wanted number."""


class Generation:
    """Generates samples with trained models.

    Draws are processed in blocks of `draws_per_block`. Sample d depends on (seed, d) and the models only; whether it is
    kept also depends on its block (`keep_lesion_share`). The last bit of a float may also depend on its batch, so no
    batch spans two blocks, and blocks are independent of each other.
    Labels and lesion looks come from `labels_from`.

    Args:
      workdir: holds the trained stages.
      labels_from: prepared data set. Its training labels are placed into generated maps, which are compared with its
        real maps; with real anatomy, the labels are placed into its training slices.
      config: its `generation`, `augmentation` and `runtime.seed` are used; the rest comes from the work directory.
      lesion_filter: stage whose segmenters choose the samples; by default `lesion_filter_stage`.

    Attributes:
      data: slice geometry, modalities and classes.
      settings: of the filters.
      draws_per_block: consecutive draws that are made together.
      identity: everything that the samples depend on, for records; JSON values.
    """

    def __init__(
        self,
        workdir: str | pathlib.Path,
        labels_from: str | pathlib.Path,
        config: configs.Config,
        lesion_filter: str | None = None,
    ):
        label_data = prepared.open_prepared(labels_from)
        self._modality_gan, synthesis_config = runs.load(constants.SYNTHESIS, workdir)
        self.data = synthesis_config.data
        prepared.require_same_geometry(label_data, self.data, f"the models in {workdir}")
        self._segmenter, stages = None, {constants.SYNTHESIS: synthesis_config}
        judge = (lesion_filter or lesion_filter_stage(workdir)) if config.generation.dice_threshold > 0 else None
        if judge:
            self._segmenter, stages[judge] = runs.load(judge, workdir)
        structure_gan = None
        if not config.generation.real_anatomy:
            structure_gan, stages[constants.STRUCTURE] = runs.load(constants.STRUCTURE, workdir)
        _require_same_geometry(stages, self.data, workdir)
        learned_from = set(stages)
        if synthesis_config.synthesis.choices.pretrained_lesion and run_folder.has_run(constants.SEGMENTATION, workdir):
            learned_from.add(constants.SEGMENTATION)  # Its frozen segmenters taught the synthesis stage.
        self._pool = LabelPool.of(label_data)
        self._looks = lesion_looks.looks_of(label_data) if synthesis_config.synthesis.choices.lesion_looks else None
        if structure_gan is None:
            self._anatomy = anatomy.RealAnatomy(label_data, synthesis_config.structure_map, config)
        else:
            self._anatomy = _made_anatomy(structure_gan, stages[constants.STRUCTURE], label_data, self._pool, config)
        self.settings, self._seed = config.generation, config.runtime.seed
        self._placing = LabelPlacing(self._pool, self.data.image_size, config.augmentation, self._seed)
        self.draws_per_block = BATCHES_PER_BLOCK * self.settings.batch_size
        self.identity = {
            "seed": self._seed,
            "draws_per_block": self.draws_per_block,
            "labels_from": label_data.record,
            "label_pool": self._pool.fingerprint(),
            "trained_on": {s: run_folder.trained_on(s, workdir) for s in constants.STAGES if s in learned_from},
            "settings": dataclasses.asdict(config.generation),
            "augmentation": dataclasses.asdict(config.augmentation),
            "lesion_filter": judge,
            "rules": _RULES,
            "lesion_looks": self._looks is not None,
            "checkpoints": checkpoint_hashes(workdir),
            "made_with": made_with(),
        }

    def block(self, number: int, counts: collections.Counter) -> Iterator[dict[str, Any]]:
        """Makes a block.

        Args:
          number: from 0.
          counts: updated with the counts that `acceptance` reads; complete after the iteration.

        Yields:
          The accepted samples in the order of their draws, as examples of a synthetic data set.
        """
        completed = (self._complete(rows) for rows in self._batches(number, counts))
        made = [self._example(sample) for sample in itertools.chain.from_iterable(completed)]
        agreed = np.array([self._agrees(sample["dice"]) for sample in made], bool)
        kept = keep_lesion_share(agreed, np.array([sample["label"].any() for sample in made], bool))
        counts.update(synthesised=len(made), agreed=int(agreed.sum()), kept=int(kept.sum()))
        yield from itertools.compress(made, kept)

    def _agrees(self, dice: np.ndarray) -> bool:
        return self._segmenter is None or np.mean(dice) >= self.settings.dice_threshold

    def remake(self, draw: int) -> dict[str, Any] | None:
        """The sample of one draw, as `block` makes it; None if its map or label is not accepted."""
        for rows in self._batches(draw // self.draws_per_block, collections.Counter()):
            if any(row["seed"] == draw for row in rows):
                return next(self._example(sample) for sample in self._complete(rows) if sample["seed"] == draw)
        return None

    def _batches(self, block: int, counts: collections.Counter) -> Iterator[list[anatomy.Row]]:
        """Accepted maps, each with a label that fits; all batches except a block's last are full."""
        size, waiting = self.settings.batch_size, []
        first = block * self.draws_per_block
        starts = range(first, first + self.draws_per_block, size)
        drawn = (self._anatomy.draw(np.arange(start, start + size)) for start in starts)
        # A thread filters the maps of one batch while the networks process the previous batch.
        for maps in map_in_order(self._anatomy.judge, drawn, workers=1):
            closed = maps.pop("closed")
            typical = closed & maps.pop("typical")
            table = {**maps, **self._place_labels(maps)}
            chosen = typical & table.pop("found")
            numbers = {"closed": closed, "typical": typical, "labelled": chosen}
            counts.update(drawn=size, **{name: int(rows.sum()) for name, rows in numbers.items()})
            chosen &= table.pop("wanted", True)
            waiting += [{name: values[row] for name, values in table.items()} for row in np.flatnonzero(chosen)]
            while len(waiting) >= size:
                yield waiting[:size]
                waiting = waiting[size:]
        if waiting:
            yield waiting

    def _place_labels(self, maps: anatomy.Row) -> anatomy.Row:
        table = self._placing.place(maps["seed"], maps["position"], maps["background"])
        if self.settings.real_anatomy:
            # Algorithm 2 dilates the head mask, so clip the label to the image's own head.
            placed = (table["label"] > 0) & (maps["own_image"] > 0).any(axis=1)
            # Slices without a synthetic lesion are dropped, because they would only repeat a patient's slice.
            table["wanted"] = table["label"].any(axis=(1, 2, 3))
            table |= {"placed": placed, "label": np.where(placed, table["label"], maps["own_label"])}
        return table

    def _complete(self, rows: list[anatomy.Row]) -> list[anatomy.Row]:
        """Adds the slices of all modalities, and the Dice of the segmenters' results on them."""
        # Batches are always full, because another size may change the order of computation.
        padded = rows + rows[:1] * (self.settings.batch_size - len(rows))
        batch = {name: np.stack([row[name] for row in padded]) for name in padded[0]}
        images = self._run_modality_gan(
            tf.constant(batch["seed"]),
            tf.constant(batch["structure"], tf.float32),
            tf.constant(batch["background"], tf.float32),
            tf.constant(batch["label"]),
            tf.constant(batch["own_image"]) if self.settings.real_anatomy else None,
        ).numpy()
        if self.settings.real_anatomy:
            images = anatomy.put_in(images, batch)
        if self._looks:
            images = np.stack([self._with_looks(image, row) for image, row in zip(images, padded, strict=True)])
        dice = self._agreement(tf.constant(images), batch["label"])
        return [{**row, "images": images[i], "dice": dice[i]} for i, row in enumerate(rows)]

    def _with_looks(self, image: np.ndarray, row: anatomy.Row) -> np.ndarray:
        rng = np.random.default_rng([self._seed, int(row["seed"]), _LOOKS])
        label, source = row["label"][..., 0], self._pool.sources[int(row["label_choice"])]
        placed = row.get("placed", row["label"] > 0)[..., 0]
        layers = self._looks.applied(np.moveaxis(image[..., 0], 0, -1), label, placed, source, rng)
        return np.moveaxis(layers, -1, 0)[..., None]

    @tf.function(autograph=False)
    def _run_modality_gan(self, numbers, structure, background, label, own) -> tf.Tensor:
        """All modalities; with the contrasts of the heads of `own` slices, if there are any."""
        shape = structure.shape[1:]
        noise = anatomy.of_each(lambda d: tf.random.stateless_uniform(shape, [self._seed + _NOISE, d]), numbers)
        scale = self._modality_gan.contrast_scale
        size = [self.data.num_modalities, scale.size]
        contrasts = anatomy.of_each(lambda d: contrast.draw(size, [self._seed + _CONTRAST, d]), numbers)
        if own is not None:
            measured = scale.describe_registered(own, label, background)
            contrasts = contrast.with_head_of(contrasts, scale.normalise(*measured))
        return self._modality_gan.synthesize(structure, background, label, noise, contrasts)

    def _agreement(self, images: tf.Tensor, labels: np.ndarray) -> np.ndarray:
        """Whole-lesion Dice of real-trained segmenters against the input label.

        [B, n], a value a modality; [B, 1] of the joint segmenter; NaN without filter.
        """
        if self._segmenter is None:
            return np.full(images.shape[:2], np.nan)
        found = self._run_segmenter(images).numpy()
        return np.array(
            [
                [_lesion_dice(label > 0, other > 0) for other in others]
                for label, others in zip(labels, found, strict=True)
            ]
        )

    @tf.function(autograph=False)
    def _run_segmenter(self, images: tf.Tensor) -> tf.Tensor:
        if isinstance(self._segmenter, JointSegmenter):
            return self._segmenter.segment(as_channels(images))[:, None, ..., None]
        return self._segmenter.segment(images)

    def _example(self, sample: anatomy.Row) -> dict[str, Any]:
        names, draw = self.data.modalities, int(sample["seed"])
        images = sample["images"].astype(np.float16)
        return {
            "image": {name: images[i] for i, name in enumerate(names)},
            "available": np.ones(len(names), bool),
            "label": sample["label"],
            "has_label": True,
            "case_id": case_id(draw),
            "patient_id": case_id(draw),
            "slice_index": 0,
            "position": sample["position"],
            "structure": sample["structure"],
            "background": sample["background"],
            "seed": draw,
            "label_source": self._pool.sources[int(sample["label_choice"])],
            "label_transform": sample["label_transform"],
            "anatomy_source": str(sample.get("anatomy_source", "")),
            "mask_error": sample["mask_error"],
            "map_similarity": sample["map_similarity"],
            "dice": sample["dice"].astype(np.float32),
        }


def _made_anatomy(
    structure_gan: StructureGAN,
    learned: configs.Config,
    label_data: prepared.PreparedData,
    pool: LabelPool,
    config: configs.Config,
) -> anatomy.MadeAnatomy:
    """Anatomy from noise; `learned` holds the settings that the structure stage was trained with."""
    like_real = None
    if config.generation.map_quantile > 0:
        like_real = MapFilter.of(label_data, learned.structure_map, config.generation)
    size, share = learned.data.image_size, learned.structure.choices.transform_maps
    return anatomy.MadeAnatomy(structure_gan, like_real, pool.head_positions, config, size, share)


def _require_same_geometry(
    stages: Mapping[str, configs.Config], data: configs.DataConfig, workdir: str | pathlib.Path
) -> None:
    for stage, config in stages.items():
        if differing := prepared.geometry_differences(config.data, data, "the synthesis stage"):
            raise WorkDirError(
                f"The {stage} stage in {workdir} does not fit: {'; '.join(differing)}. Train all stages on data sets "
                "built with the same settings."
            )


def lesion_filter_stage(workdir: str | pathlib.Path) -> str:
    """The joint segmenter's stage if it is there, otherwise that of the paper's segmenters."""
    return constants.JOINT if run_folder.has_run(constants.JOINT, workdir) else constants.SEGMENTATION


def keep_lesion_share(agreed: np.ndarray, lesion: np.ndarray) -> np.ndarray:
    """Drops so many samples without a lesion that lesions are as frequent as before the lesion filter.

    Segmenters nearly always agree that there is no lesion, so the filter alone would make lesions rarer.

    Args:
      agreed: bool [N], whether the segmenters agree with a sample's label.
      lesion: bool [N], whether it has a lesion.

    Returns:
      bool [N], which samples are kept. Without any lesion among them, all that agree.
    """
    kept = agreed.copy()
    if lesion.any():
        most = round(np.count_nonzero(~lesion) * float(agreed[lesion].mean()))
        kept[np.flatnonzero(agreed & ~lesion)[most:]] = False
    return kept


def case_id(draw: int) -> str:
    """The case id of a draw's sample."""
    return f"synthetic_{draw:09d}"


def acceptance(counts: Mapping[str, int]) -> dict[str, int | float]:
    """Acceptance of the filters over whole blocks, for records, from the counts of `Generation.block`."""
    names = ("drawn", "closed", "typical", "synthesised", "agreed")
    drawn, closed, typical, synthesised, agreed = (counts.get(name, 0) for name in names)
    return {
        "drawn": drawn,
        "passed_structure_filter": closed,
        "structure_acceptance": closed / max(drawn, 1),
        "passed_map_filter": typical,
        "map_acceptance": typical / max(closed, 1),
        "found_label": counts.get("labelled", 0),
        "synthesised": synthesised,
        "passed_lesion_filter": agreed,
        "lesion_acceptance": agreed / max(synthesised, 1),
        "kept": counts.get("kept", 0),
    }


def require_progress(counts: Mapping[str, int], settings: configs.GenerationConfig) -> None:
    """Stops a build if at most one draw in `MOST_DRAWS_PER_SAMPLE` has become a sample.

    Raises:
      GenerationError: too few samples are accepted; the message gives the acceptance of each filter.
    """
    if counts.get("drawn", 0) < MOST_DRAWS_PER_SAMPLE * max(counts.get("kept", 0), settings.batch_size):
        return
    rates = acceptance(counts)
    raise GenerationError(
        f"Gave up: {rates['drawn']} draws gave {rates['kept']} samples. Algorithm 3 accepts "
        f"{rates['structure_acceptance']:.1%} of the maps, the map filter {rates['map_acceptance']:.1%} of these, and "
        f"the lesion filter {rates['lesion_acceptance']:.1%} of the samples. Train longer, or relax "
        "--config.generation.mask_error, --config.generation.map_quantile or --config.generation.dice_threshold."
    )


def make_repeatable() -> None:
    """Makes operations bit-for-bit reproducible on one kind of device; call it before the first operation."""
    tf.config.experimental.enable_op_determinism()


def repeatable_generation(
    workdir: str | pathlib.Path, labels_from: str | pathlib.Path, config: configs.Config
) -> Generation:
    """A bit-for-bit reproducible `Generation`, as the first thing that a process does."""
    make_repeatable()
    return Generation(workdir, labels_from, config)


def made_with() -> dict[str, str]:
    """Versions and device, on which the last bit of a float may depend."""
    gpus = tf.config.list_physical_devices("GPU")
    names = {tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus}
    device = ", ".join(sorted(names)) or f"CPU ({platform.machine()})"
    return {"mmsynth_tf": __version__, "tensorflow": tf.__version__, "device": device}


def _lesion_dice(reference: np.ndarray, found: np.ndarray) -> float:
    """Dice; 1 if neither label has a lesion, because that is agreement."""
    value = segmentation.dice(reference, found)
    return 1.0 if np.isnan(value) else value
