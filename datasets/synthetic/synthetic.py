"""Builds the data set of synthetic slices from trained generators (method §7), in TFDS format."""

import collections
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
import tensorflow_datasets as tfds

from datasets.features import synthetic_features
from datasets.prepare import data_set_record, require_space
from datasets.synthetic import beam_blocks
from datasets.synthetic.blocks import Block, Blocks, Generation
from datasets.synthetic.statistics import LabelStatistics, LesionAgreement
from mmsynth_tf import constants
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.generation import data_card, sampling
from mmsynth_tf.reading.splits import TEST, TRAIN, VALIDATION
from mmsynth_tf.storage import atomic

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_NAME, _VERSION = "synthetic", "1.0.0"
_DESCRIPTION = f"Synthetic registered slices with lesion labels. {constants.DISCLAIMER}"


def blocks_folder(output: Path) -> Path:
    """Folder of the samples of a data set until the data set is complete."""
    return output.with_name(f"{output.name}.blocks")


def make_blocks(generation: Generation, count: int, output: Path, worker: int = 0, num_workers: int = 1) -> Blocks:
    """Makes the missing samples of a worker's share of a data set.

    Args:
      generation: the generators.
      count: number of samples of the whole data set.
      output: folder of the data set, which need not exist.
      worker: index of the worker, from 0.
      num_workers: number of workers; all need access to the same folder.

    Raises:
      GenerationError: the filters accept too few samples.
      UserError: the folder holds samples of another generation.
      OSError: the disk is too small or not writable.
    """
    blocks = _blocks(generation, count, output)
    blocks.make(count, worker, num_workers)
    return blocks


def _blocks(generation: Generation, count: int, output: Path) -> Blocks:
    """The blocks of a data set, after a check that the disk has space for the missing samples."""
    blocks = Blocks(blocks_folder(output), generation)
    missing = count - sum(blocks.first(count))
    require_space(output.parent, missing * _bytes_per_sample(generation))
    return blocks


def make_blocks_on_beam(
    make_generation: Callable[[], Generation], count: int, output: Path, options: "PipelineOptions"
) -> None:
    """Makes all missing samples of a data set on Apache Beam; `build` then packs them.

    Args:
      make_generation: makes the generators; pickled, and called once in each process.
      count: number of samples of the data set.
      output: folder of the data set, which need not exist; all workers need access to it.
      options: options of the pipelines.

    Raises:
      as for `make_blocks`.
    """
    blocks = _blocks(make_generation(), count, output)
    beam_blocks.make(blocks, make_generation, count, options)


def build(generation: Generation, count: int, output: Path, folder: Path) -> None:
    """Makes the missing ones of the first `count` samples and packs all into an existing folder.

    The order is that of the draws, whichever worker made them. The caller deletes `blocks_folder(output)`.

    Args:
      generation: the generators.
      count: number of samples.
      output: folder that `folder` will become.
      folder: receives the data set; use `atomic.new_folder`.

    Raises:
      as for `make_blocks`.
    """
    blocks = make_blocks(generation, count, output)
    lengths = blocks.first(count)
    _write_shards(blocks, lengths, generation.data, folder)
    record = _record(blocks, lengths, generation)
    atomic.write_text(folder / constants.DATA_SET_RECORD, json.dumps(record, indent=2))
    data_card.write(folder, name=output.name)


def _write_shards(blocks: Blocks, lengths: Sequence[int], data: DataConfig, folder: Path) -> None:
    """Makes a shard of the first samples of each block, and the metadata that TFDS needs to read them."""
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=_NAME, split=TRAIN, filetype_suffix="tfrecord"
    )
    chosen = [(number, length) for number, length in enumerate(lengths) if length]
    num_bytes = 0
    for (number, length), path in zip(chosen, template.sharded_filepaths(len(chosen)), strict=True):
        block = blocks.read(number)
        num_bytes += sum(sample["bytes"] for sample in block.samples[:length])
        _place(block, length, path)
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=tfds.features.FeaturesDict(synthetic_features(data)),
        split_infos=[tfds.core.SplitInfo(TRAIN, [length for _, length in chosen], num_bytes, template)],
        filename_template=template,
        version=_VERSION,
        description=_DESCRIPTION,
        check_data=False,  # Reading an example takes seconds, and the tests do it.
    )


def _record(blocks: Blocks, lengths: Sequence[int], generation: Generation) -> dict[str, Any]:
    """The content of data_set.json."""
    counts, case_ids = collections.Counter(), []
    joint = generation.identity.get("lesion_filter") == constants.JOINT
    agreement = LesionAgreement((constants.ALL_MODALITIES,) if joint else generation.data.modalities)
    statistics = LabelStatistics(generation.data)
    for number, length in enumerate(lengths):
        block = blocks.read(number)
        counts.update(block.counts)
        for sample in block.samples[:length]:
            case_ids.append(sample["case_id"])
            statistics.add(sample["pixels"])
            agreement.add(any(sample["pixels"][1:]), sample["dice"])
    return data_set_record(
        generation.data,
        source="synthetic",
        release="synthetic",
        split={TRAIN: case_ids, VALIDATION: [], TEST: []},
        patients={},
        generation={**generation.identity, **sampling.acceptance(counts)},
        statistics={**statistics.summary(), "lesion_agreement": agreement.summary()},
    )


def _place(block: Block, length: int, path: os.PathLike) -> None:
    """Puts the first `length` samples of a block into a shard; a whole block is linked if the file system has links."""
    if length < len(block.samples):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in tf.data.TFRecordDataset(str(block.path)).take(length):
                writer.write(record.numpy())
        return
    try:
        os.link(block.path, path)
    except OSError:  # The file system has no links.
        shutil.copyfile(block.path, path)


def _bytes_per_sample(generation: Generation) -> int:
    """Size of a sample on disk: half-precision images, label, structure map and background; the rest is small."""
    data = generation.data
    return data.height * data.width * (2 * data.num_modalities + 3)
