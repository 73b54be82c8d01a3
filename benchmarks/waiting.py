"""How long training waits for its data: TFRecords through the real input pipeline, between real steps or sleeps."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks import made_up_slices, stage_step
from datasets import cases as cases_builder
from mmsynth_tf import constants, input_pipeline, prepared
from mmsynth_tf.configs import Config, DataConfig
from mmsynth_tf.models.stage import Batch
from mmsynth_tf.reading import releases
from mmsynth_tf.stages import catalogue
from mmsynth_tf.storage.records import Record
from tools.proofs import made_up_cases

_CASES, _SLICES = 4, 8
# Stands for steps that take longer than this where there is no GPU: a longer sleep would hide more waiting.
_SLEEP = 0.5


def run(config: Config, larger: Mapping[str, Config], rounds: int) -> Iterator[Record]:
    """Counts the waiting of every stage on made-up data.

    Args:
      config: sizes that this machine trains.
      larger: by name, sizes whose steps are replaced by sleeps.
      rounds: steps that are timed.
    """
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"this preset": config, **larger}
        data = {name: made_up_data(Path(folder) / name, config.data) for name, config in sizes.items()}
        for stage in constants.STAGES:
            yield from of_stage(stage, sizes, data, rounds)


def of_stage(
    stage: str, sizes: Mapping[str, Config], data: Mapping[str, prepared.PreparedData], rounds: int
) -> Iterator[Record]:
    """A record for each of the sizes; the first runs real steps, the others sleep."""
    for index, (name, config) in enumerate(sizes.items()):
        config = dataclasses.replace(config, data=data[name].config)
        step = _sleep if index else _real_step(stage, config)
        found = waiting(_batches(data[name], stage, config), step, rounds)
        yield {"stage": stage, "sizes": name, "step": "sleep" if index else "real", **found}


def waiting(batches: tf.data.Dataset, step: Callable[[Batch], object], rounds: int) -> dict[str, float]:
    """Trains, with and without the step.

    Returns:
      Milliseconds of a step and of waiting before it, the share of waiting in the time, and the milliseconds of a batch
      without any step.
    """
    ready = iter(batches)
    for _ in range(3):
        step(next(ready))
    waited, worked = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        batch = next(ready)
        arrived = time.perf_counter()
        step(batch)
        waited.append(arrived - began)
        worked.append(time.perf_counter() - arrived)
    began = time.perf_counter()
    for _ in range(rounds):
        next(ready)
    return {
        "step_milliseconds": 1e3 * float(np.median(worked)),
        "wait_milliseconds": 1e3 * float(np.median(waited)),
        "share_waited": sum(waited) / (sum(waited) + sum(worked)),
        "batch_milliseconds": 1e3 * (time.perf_counter() - began) / rounds,
    }


def made_up_data(folder: Path, data: DataConfig, with_lesions: bool = True) -> prepared.PreparedData:
    """A prepared data set of made-up cases in the geometry of the configuration, but for the number of slices."""
    data = dataclasses.replace(data, slices=(0, _SLICES, 1))
    cases, prepared_folder = folder / "cases", folder / "prepared"
    prepared_folder.mkdir(parents=True)
    for number in range(_CASES):
        volumes = _volumes(number, data)
        volumes["label"] *= with_lesions
        made_up_cases.write_nifti_case(cases, f"case_{number}_1", volumes)
    found = releases.find_cases(cases, data.modalities, None)
    cases_builder.build(found, data, prepared_folder, False, "made up")
    return prepared.open_prepared(prepared_folder)


def _volumes(seed: int, data: DataConfig) -> dict[str, np.ndarray]:
    """A case in the axes of its file [x, y, z]: slices of `made_up_slices.head_slice` as large as the crop."""
    rng, (rows, columns) = np.random.default_rng(seed), (data.crop_rows[1], data.crop_columns[1])
    slices = [
        made_up_slices.head_slice(rng, data.num_modalities, data.num_classes, max(rows, columns))
        for _ in range(_SLICES)
    ]
    images = np.stack([1000 * s["image"][..., 0] for s in slices], axis=-1).astype(np.int16)
    labels = np.stack([s["label"][..., 0] for s in slices], axis=-1)
    # Of the labels that BraTS has; the classes that it lacks become background.
    labels = np.where(np.isin(labels, (1, 2, 4)), labels, 0).astype(np.uint8)
    volumes = dict(zip(data.modalities, images, strict=True)) | {"label": labels}
    return {name: np.swapaxes(volume[:rows, :columns], 0, 1) for name, volume in volumes.items()}


def _batches(data: prepared.PreparedData, stage: str, config: Config) -> tf.data.Dataset:
    further = catalogue.STAGES[stage].features(config)
    slices = input_pipeline.training_features(data.slices("train"), *further)
    source = catalogue.STAGES[stage].source([slices], config)
    return catalogue.STAGES[stage].batches(source, config)


def _real_step(stage: str, config: Config) -> Callable[[Batch], object]:
    step = tf.function(stage_step.model(stage, config).train_step, autograph=False)
    return lambda batch: tf.nest.map_structure(float, step(batch))


def _sleep(batch: Batch) -> None:
    time.sleep(_SLEEP)
