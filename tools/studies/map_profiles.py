"""Compares the edges of generated structure maps with those of real maps.

    python -m tools.studies.map_profiles data/brats map_profiles.csv runs/a runs/b

Rows are the training slices of the data set, its test slices (of patients that no stage has seen), and 512 maps of the
structure stage in each work directory, unfiltered, at positions of training slices. No loss of the stage names what is
measured; its discriminator sees whole maps, and it adjusts the number of edges:

- rim_1 to rim_5: share of edges among the head's pixels at 1 to 5 pixels from its border; inside: further in;
- pieces: areas without edges, of at least 4 pixels, in a head;
- pattern: Jensen-Shannon divergence, bits, of the 3 x 3 edges around pixels of the head from those of the training
  slices; distant_pattern: of nine pixels that are 4 apart.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from scipy import ndimage

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation.label_pool import LabelPool
from mmsynth_tf.reading.splits import TEST, TRAIN
from mmsynth_tf.stages.structure.gan import StructureGAN
from mmsynth_tf.storage import records
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import runs
from tools.studies import cells

_MAPS, _BATCH, _SEED = 512, 64, 0
# Pixels from the border.
_RIM = 5
# Distances of the pixels of a pattern.
_PATTERNS = {"pattern": 1, "distant_pattern": 4}

Maps = tuple[np.ndarray, np.ndarray]


def main(data: str, output: str, *workdirs: str) -> None:
    real, found, like = prepared.open_prepared(data), [], None
    for name, (maps, heads) in sets_of(real, workdirs):
        counts = {key: patterns(maps, heads, distance) for key, distance in _PATTERNS.items()}
        like = like or counts
        divergences = {key: round(divergence(counts[key], like[key]), 4) for key in counts}
        found.append({"maps": name, "count": len(maps), **profile(maps, heads), **divergences})
    records.write_csv(output, found)
    print(table(found))


def sets_of(real: prepared.PreparedData, workdirs: Sequence[str]) -> Iterator[tuple[str, Maps]]:
    """The name of each set, and its maps and heads, both bool [N, H, W]."""
    if not workdirs:
        raise UserError("Name at least one work directory with a trained structure stage.")
    gans = {workdir: runs.load(constants.STRUCTURE, workdir) for workdir in workdirs}
    _, config = gans[workdirs[0]]
    for split in (TRAIN, TEST):
        yield split, real_maps(real, split, config.structure_map)
    positions = LabelPool.of(real).head_positions
    for workdir, (gan, _) in gans.items():
        yield os.path.basename(os.path.normpath(workdir)), made_maps(gan, positions)


def real_maps(real: prepared.PreparedData, split: str, config: configs.StructureMapConfig) -> Maps:
    """Maps of the modalities that a split's slices have."""
    images = (tf.cast(example["image"][example["available"]], tf.float32) for example in real.slices(split))
    pairs = [(structure_maps.structure_map(i, config), structure_maps.background_of(i, config)) for i in images]
    edges, background = (np.concatenate(group)[..., 0] for group in zip(*pairs, strict=True))
    return (edges > 0) & (background == 0), background == 0


def made_maps(gan: StructureGAN, positions: np.ndarray) -> Maps:
    """Maps from noise at positions that are drawn from the given ones, [N]."""
    rng = np.random.default_rng(_SEED)
    codes = rng.standard_normal((_MAPS, gan.code_dim)).astype(np.float32)
    heights = rng.choice(positions, _MAPS)
    batches = (gan.sample_binary(codes[i : i + _BATCH], heights[i : i + _BATCH]) for i in range(0, _MAPS, _BATCH))
    edges, background = (np.concatenate(group)[..., 0] for group in zip(*batches, strict=True))
    # Edges outside the head are erased in generation, too.
    return (edges > 0) & (background == 0), background == 0


def profile(maps: np.ndarray, heads: np.ndarray) -> Mapping[str, float]:
    depth = np.stack([depth_of(head) for head in heads])
    rim = {f"rim_{d}": maps[depth == d].mean() for d in range(1, _RIM + 1)}
    pieces = np.mean([count_pieces(head & ~edges) for edges, head in zip(maps, heads, strict=True)])
    values = {**rim, "inside": maps[depth > _RIM].mean(), "pieces": pieces, "head": heads.mean()}
    return {name: round(float(value), 4) for name, value in values.items()}


def depth_of(head: np.ndarray) -> np.ndarray:
    """Distance of each pixel from outside the head [H, W], pixels along rows, columns or diagonals; 0 outside."""
    return ndimage.distance_transform_cdt(np.pad(head, 1), "chessboard")[1:-1, 1:-1]


def count_pieces(area: np.ndarray) -> int:
    pieces, _ = ndimage.label(area)
    return int((np.bincount(pieces.ravel())[1:] >= 4).sum())


def patterns(maps: np.ndarray, heads: np.ndarray, distance: int) -> np.ndarray:
    """How often each arrangement of edges at nine pixels occurs inside heads: [512], from 1."""
    steps = [(y, x) for y in (-distance, 0, distance) for x in (-distance, 0, distance)]
    height, width = maps.shape[1:]
    padded = np.pad(maps.astype(int), [(0, 0), (distance, distance), (distance, distance)])
    starts = [(distance + y, distance + x) for y, x in steps]
    codes = sum(padded[:, y : y + height, x : x + width] << bit for bit, (y, x) in enumerate(starts))
    return np.bincount(codes[heads], minlength=1 << len(steps)) + 1.0


def divergence(a: np.ndarray, b: np.ndarray) -> float:
    """Jensen-Shannon divergence of two tables of counts, bits."""
    p, q = a / a.sum(), b / b.sum()
    middle = (p + q) / 2
    return 0.5 * float((p * np.log2(p / middle)).sum() + (q * np.log2(q / middle)).sum())


def table(found: Sequence[Record]) -> str:
    return cells.table(tuple(found[0]), [tuple(map(str, row.values())) for row in found])


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
