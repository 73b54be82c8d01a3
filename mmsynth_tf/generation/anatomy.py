"""Where the heads of synthetic slices come from: maps from noise (method §4), or real slices (beyond the paper)."""

import tempfile
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, prepared
from mmsynth_tf.algorithms import blending, contour_filter, fusion, warping
from mmsynth_tf.configs import slice_sizes
from mmsynth_tf.generation.label_pool import LabelPool, described
from mmsynth_tf.generation.map_filter import MapFilter
from mmsynth_tf.stages.structure.gan import StructureGAN

Row = dict[str, np.ndarray]

# Streams of random numbers, as in `sampling`.
_CODE, _POSITION, _TRANSFORM, _SLICE, _MODALITY = 0, 5, 6, 7, 8


class MadeAnatomy:
    """Structure maps and heads from noise.

    Args:
      structure_gan: trained.
      map_filter: measures the similarity of a map to real maps; None: no such filter.
      positions: float32 [N], of real slices; every map is made for one of them.
      config: its `generation`, `augmentation` and `runtime.seed` are used.
      image_size: height and width, pixels.
      transform_maps: share of `augmentation` by which maps are transformed; 0 leaves them as they are.
    """

    def __init__(
        self,
        structure_gan: StructureGAN,
        map_filter: MapFilter | None,
        positions: np.ndarray,
        config: configs.Config,
        image_size: tuple[int, int],
        transform_maps: float,
    ):
        self._structure_gan, self._map_filter, self._image_size = structure_gan, map_filter, image_size
        self._positions, self._settings, self._seed = positions, config.generation, config.runtime.seed
        self._ranges = config.augmentation.times(transform_maps) if transform_maps else None

    def draw(self, numbers: np.ndarray) -> Row:
        """The maps of some draws: `structure` and `background`, uint8 [B, H, W, 1], binary; `position` float32 [B]."""
        draws = tf.constant(numbers)
        position = self._positions[_choose(draws, self._seed + _POSITION, len(self._positions)).numpy()]
        maps = self._sample_maps(draws, tf.constant(position))
        structure, background = (t.numpy().astype(np.uint8) for t in maps)
        return {"seed": numbers, "structure": structure, "background": background, "position": position}

    def judge(self, maps: Row) -> Row:
        """Transforms maps, and adds the measurements and decisions of the filters: `closed`, `typical`."""
        structure, background = maps["structure"], maps["background"]
        similarities, typical = np.full(len(structure), np.nan, np.float32), np.ones(len(structure), bool)
        if self._map_filter:
            similarities = self._map_filter.similarities((structure * (1 - background))[..., 0])
            typical = similarities >= self._map_filter.least
        if self._ranges:
            # Transform after the comparison, because real maps are not transformed.
            moved = self._transform_maps(
                tf.constant(maps["seed"]), tf.constant(np.concatenate([structure, 1 - background], axis=-1))
            )
            structure, head = np.split(moved.numpy(), 2, axis=-1)
            background = 1 - head
        errors = contour_filter.mask_errors(structure[..., 0], background[..., 0], self._structure_gan.choices.closing)
        return {
            **maps,
            # Edges outside the head would be drawn into the empty background.
            "structure": structure * (1 - background),
            "background": background,
            "mask_error": errors,
            "map_similarity": similarities,
            # A map without edges has no head, and its empty outline fits that.
            "closed": (errors <= self._settings.mask_error) & (background == 0).any(axis=(1, 2, 3)),
            "typical": typical,
        }

    @tf.function(autograph=False)
    def _sample_maps(self, numbers: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        code_dim = self._structure_gan.code_dim
        codes = of_each(lambda d: tf.random.stateless_normal([code_dim], [self._seed + _CODE, d]), numbers)
        return self._structure_gan.sample_binary(codes, position)

    @tf.function(autograph=False)
    def _transform_maps(self, numbers: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
        """Transforms maps [B, H, W, C] at random, padded with 0."""
        transforms = _random_transforms(numbers, self._image_size, self._ranges, self._seed)
        return warping.transform(maps, transforms, "NEAREST")


class RealAnatomy:
    """Real training slices, transformed at random as in classical augmentation.

    Synthetic lesions are blended into these images; the rest of each image is unchanged.

    Args:
      data: its training slices are used, see `labelled_slices`.
      structure_map: how maps are extracted.
      config: its `augmentation` and `runtime.seed` are used.

    Raises:
      PreparedDataError: no slice of that split has a label and shows all modalities.
    """

    def __init__(self, data: prepared.PreparedData, structure_map: configs.StructureMapConfig, config: configs.Config):
        self._images, self._pool = labelled_slices(data)
        self._structure_map, self._augmentation, self._seed = structure_map, config.augmentation, config.runtime.seed

    def draw(self, numbers: np.ndarray) -> Row:
        """Slices, and what `MadeAnatomy.draw` gives.

        Args:
          numbers: int64 [B], of draws.

        Returns:
          Besides maps and heads `own_image` float32 [B, n, H, W, 1], `own_label` uint8 [B, H, W, 1], cut at the head,
          and `anatomy_source`, B texts.
        """
        pool, draws = self._pool, tf.constant(numbers)
        choice = _choose(draws, self._seed + _SLICE, len(pool.sources)).numpy()
        drawn = self._transformed(draws, tf.constant(self._images[choice]), tf.gather(pool.labels, choice))
        image, label, structure, background = (t.numpy() for t in drawn)
        return {
            "seed": numbers,
            "structure": structure.astype(np.uint8),
            "background": background.astype(np.uint8),
            "own_image": image,
            "own_label": label,
            "position": pool.positions[choice],
            "anatomy_source": np.array(pool.sources)[choice],
        }

    def judge(self, maps: Row) -> Row:
        """Real maps need no filter."""
        nothing, every = np.full(len(maps["seed"]), np.nan, np.float32), np.ones(len(maps["seed"]), bool)
        return {**maps, "mask_error": nothing, "map_similarity": nothing, "closed": every, "typical": every}

    @tf.function(autograph=False)
    def _transformed(self, numbers: tf.Tensor, image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Rotates, scales and shifts slices and labels by their draws; also returns the maps of one modality each."""
        n, size = image.shape[1], image.shape[2:4]
        transforms = _random_transforms(numbers, tuple(size), self._augmentation, self._seed)
        image = tf.cast(image, tf.float32)
        flat = tf.reshape(image, [-1, *size, 1])
        image = tf.reshape(warping.transform(flat, tf.repeat(transforms, n, axis=0), "BILINEAR"), tf.shape(image))
        label = warping.transform(label, transforms, "NEAREST")
        shown = tf.gather(image, _choose(numbers, self._seed + _MODALITY, n), batch_dims=1)
        return image, *fusion.own_map(shown, label, self._structure_map)


def labelled_slices(data: prepared.PreparedData) -> tuple[np.ndarray, LabelPool]:
    """Training slices that have a label and all modalities.

    The images are unpacked to a temporary file (TMPDIR says where), so that memory does not grow with their number.

    Returns:
      images: float16 [N, n, H, W, 1] in [0, 1].
      pool: their labels, sources, positions and frames of heads.

    Raises:
      PreparedDataError: there is no such slice, or slices have no positions.
    """
    slices, kept = data.slices("train"), []
    prepared.require_features(slices, ("position",))
    whole = slices.filter(lambda e: e["has_label"] & tf.reduce_all(e["available"]))
    # A file without a name disappears with the process, even if it is killed.
    with tempfile.TemporaryFile() as file:
        for example in whole.as_numpy_iterator():
            file.write(example["image"].tobytes())
            kept.append(described(example))
        if not kept:
            raise prepared.PreparedDataError(
                f"No training slice of {data.path} has a label and all modalities. Give a data set with complete cases."
            )
        file.flush()
        # The map keeps the file open.
        images = np.memmap(file, example["image"].dtype, "r", shape=(len(kept), *example["image"].shape))
    return images, LabelPool.of_described(kept)


def put_in(made: np.ndarray, rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """Inserts synthetic lesions into the slices that `RealAnatomy` drew.

    Args:
      made: synthetic slices, float32 [B, n, H, W, 1], in [0, 1].
      rows: `own_image`, and `placed`, bool [B, H, W, 1]: mask of the synthetic lesions.

    Returns:
      float32 [B, n, H, W, 1].
    """
    spacing = (1.0 / slice_sizes.relative_size(made.shape[2:4]),) * 2
    images = [
        [blending.blend(*pair, where, spacing) for pair in zip(own, other, strict=True)]
        for own, other, where in zip(rows["own_image"][..., 0], made[..., 0], rows["placed"][..., 0], strict=True)
    ]
    return np.array(images)[..., None]


def of_each(drawn: Callable[[tf.Tensor], tf.Tensor], numbers: tf.Tensor) -> tf.Tensor:
    """Applies a function to the number of each draw independently: float32 [B, ...]."""
    return tf.map_fn(drawn, numbers, fn_output_signature=tf.float32)


@tf.function(autograph=False)
def _choose(numbers: tf.Tensor, seed: int, count: int) -> tf.Tensor:
    """A random index below `count` for each draw: int32 [B]."""
    return tf.map_fn(
        lambda d: tf.random.stateless_uniform([], [seed, d], 0, count, tf.int32),
        numbers,
        fn_output_signature=tf.int32,
    )


def _random_transforms(
    numbers: tf.Tensor, size: tuple[int, int], ranges: configs.AugmentationConfig, seed: int
) -> tf.Tensor:
    """A transform for each draw: float32 [B, 8], see `warping.random_transforms`."""
    return of_each(lambda d: warping.random_transforms(1, size, ranges, tf.stack([seed + _TRANSFORM, d]))[0], numbers)
