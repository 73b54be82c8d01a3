"""Blocks of samples on disk, so that a build can be resumed and shared by several workers."""

import collections
import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tqdm import tqdm

from datasets.features import serialize, synthetic_features
from mmsynth_tf.configs import DataConfig, GenerationConfig
from mmsynth_tf.errors import UserError
from mmsynth_tf.generation import sampling
from mmsynth_tf.storage import atomic

_IDENTITY_FILE = "generation.json"


class Generation(Protocol):
    """A run of the generators, see `mmsynth_tf.generation.sampling.Generation`."""

    data: DataConfig
    settings: GenerationConfig
    draws_per_block: int
    identity: Mapping[str, Any]

    def block(self, number: int, counts: collections.Counter) -> Iterator[dict[str, Any]]: ...


@dataclasses.dataclass(frozen=True)
class Block:
    """A finished block.

    Attributes:
      path: TFRecord file.
      counts: number of samples that the filters tested and accepted.
      samples: for each sample `case_id`, `bytes` of its record, `pixels` of each label class, and `dice` of each
        modality.
    """

    path: Path
    counts: dict[str, int]
    samples: list[dict[str, Any]]


class Blocks:
    """A folder with the finished blocks of a generation: for each a TFRecord file, and a JSON file once it is complete.

    Args:
      folder: created if needed.
      generation: makes the blocks.

    Attributes:
      folder: the given folder.

    Raises:
      UserError: the folder holds blocks of another generation.
    """

    def __init__(self, folder: Path, generation: Generation):
        self.folder, self._generation = folder, generation
        self._features = tfds.features.FeaturesDict(synthetic_features(generation.data))
        self._counts: dict[int, dict[str, int]] = {}
        self._claim()

    def make(self, count: int, worker: int = 0, num_workers: int = 1) -> None:
        """Makes the missing ones of the blocks `worker`, `worker` + `num_workers`, ….

        Stops when the finished blocks before the next one hold `count` samples.

        Raises:
          GenerationError: the filters accept too few samples.
        """
        with tqdm(total=count, desc="Making samples", unit="sample") as progress:
            for number in itertools.count(worker, num_workers):
                finished = self._finished()
                progress.update(min(sum(c["kept"] for c in finished.values()), count) - progress.n)
                if sum(finished[n]["kept"] for n in finished if n < number) >= count:
                    return
                if number not in finished:
                    sampling.require_progress(_total(finished.values()), self._generation.settings)
                    self.make_block(number)

    def expected(self, count: int) -> list[int]:
        """Estimates the missing blocks for `count` samples; empty if none is missing.

        Raises:
          GenerationError: the filters accept too few samples.
        """
        if sum(self.first(count)) == count:
            return []
        finished = self._finished()
        total = _total(finished.values())
        sampling.require_progress(total, self._generation.settings)
        per_block = total["kept"] / len(finished) if total["kept"] else self._generation.draws_per_block
        needed = max(math.ceil(count / per_block), 1 + max(finished, default=-1))
        missing = [number for number in range(needed) if number not in finished]
        return missing or [needed]

    def first(self, count: int) -> list[int]:
        """Number of samples from each block, from block 0 on, in the first `count`; the sum is less until all exist."""
        finished, lengths = self._finished(), []
        while count and len(lengths) in finished:
            lengths.append(min(count, finished[len(lengths)]["kept"]))
            count -= lengths[-1]
        return lengths

    def read(self, number: int) -> Block:
        """Reads the metadata of a finished block."""
        content = json.loads(self._path(number, "json").read_text(encoding="utf-8"))
        return Block(self._path(number, "tfrecord"), content["counts"], content["samples"])

    def make_block(self, number: int) -> None:
        """Makes one block, even if it is already finished."""
        counts, samples = collections.Counter(kept=0), []
        with atomic.atomic_path(self._path(number, "tfrecord")) as path, tf.io.TFRecordWriter(str(path)) as writer:
            for example in self._generation.block(number, counts):
                record = serialize(self._features, example)
                writer.write(record)
                samples.append(self._describe(example, len(record)))
        text = json.dumps({"counts": counts, "samples": samples})
        # Written last, because it marks the block as complete.
        atomic.write_text(self._path(number, "json"), text)

    def _describe(self, example: Mapping[str, Any], num_bytes: int) -> dict[str, Any]:
        pixels = np.bincount(example["label"].ravel(), minlength=self._generation.data.num_classes).tolist()
        dice = np.asarray(example["dice"], np.float64).tolist()
        return {"case_id": example["case_id"], "bytes": num_bytes, "pixels": pixels, "dice": dice}

    def _finished(self) -> dict[int, dict[str, int]]:
        """Counts of the finished blocks by number, including those of other workers."""
        for path in self.folder.glob("block-*.json"):
            number = int(path.stem.removeprefix("block-"))
            if number not in self._counts:
                self._counts[number] = self.read(number).counts
        return self._counts

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"block-{number:06d}.{suffix}"

    def _claim(self) -> None:
        """Records the generation of the blocks, or checks that existing blocks belong to the same generation."""
        identity, path = json.loads(json.dumps(self._generation.identity)), self.folder / _IDENTITY_FILE
        if not path.is_file():
            atomic.write_text(path, json.dumps(identity, indent=1))
            return
        there, here = _leaves(json.loads(path.read_text(encoding="utf-8"))), _leaves(identity)
        differing = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
        if differing:
            raise UserError(
                f"{self.folder} holds samples of an unfinished data set with other settings "
                f"({', '.join(differing)} differ). Repeat the command of that build, choose another --output, or "
                "delete this folder."
            )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves


def _total(counts: Iterable[Mapping[str, int]]) -> collections.Counter:
    return sum(map(collections.Counter, counts), collections.Counter())
