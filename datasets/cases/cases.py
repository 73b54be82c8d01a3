"""TFDS builder for real cases in any release that `mmsynth_tf.reading.releases` knows."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds
from tqdm import tqdm

from datasets.features import SortedWriter, slice_features
from datasets.prepare import data_set_record, require_space, write_data_set
from mmsynth_tf.configs import DataConfig
from mmsynth_tf.parallel import map_in_order
from mmsynth_tf.reading import geometry
from mmsynth_tf.reading.cases import read_case
from mmsynth_tf.reading.releases import CaseFiles
from mmsynth_tf.reading.slicing import slice_examples
from mmsynth_tf.reading.splits import split_by_fold, split_by_patient

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

_DESCRIPTION = "Axial slices of multimodal volumes with lesion labels. Research software. Not for clinical use."
_BRATS_CITATION = """
@article{menze2015brats, title={The Multimodal Brain Tumor Image Segmentation Benchmark ({BRATS})},
  author={Menze, Bjoern H. and others}, journal={IEEE Transactions on Medical Imaging}, year={2015}}
@article{bakas2017advancing, title={Advancing The Cancer Genome Atlas glioma {MRI} collections with expert
  segmentation labels and radiomic features}, author={Bakas, Spyridon and others}, journal={Scientific Data},
  year={2017}}
@article{bakas2018identifying, title={Identifying the Best Machine Learning Algorithms for Brain Tumor Segmentation,
  Progression Assessment, and Overall Survival Prediction in the {BRATS} Challenge},
  author={Bakas, Spyridon and others}, journal={arXiv:1811.02629}, year={2018}}
"""


KeyedExample = tuple[str, dict[str, Any]]


@dataclasses.dataclass
class CasesConfig(tfds.core.BuilderConfig):
    """The cases to read, and the settings of the slices.

    Attributes:
      data: slice geometry, modalities, classes and split.
      cases: the files of the cases, from `mmsynth_tf.reading.releases.find_cases`.
      allow_incomplete: accept cases without a modality or the label.
      on_beam: read the cases on Apache Beam.
      release: name of the release.
      fold: number of the cross-validation fold whose patients are the test set, from 0; None for a drawn split.
      train_patients: number of training patients of the fold; None for all.
    """

    name: str = "slices"
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    cases: Sequence[CaseFiles] = dataclasses.field(default=(), repr=False)  # TFDS logs the configuration.
    allow_incomplete: bool = False
    on_beam: bool = False
    release: str = ""
    fold: int | None = None
    train_patients: int | None = None

    @property
    def patients(self) -> dict[str, str]:
        return {case.case_id: case.patient_id for case in self.cases}

    @property
    def split(self) -> dict[str, list[str]]:
        if self.fold is None:
            return split_by_patient(self.patients, self.data)
        return split_by_fold(self.patients, self.data, self.fold, self.train_patients)


class Cases(tfds.core.GeneratorBasedBuilder):
    """Slices of real cases, split by patient."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(slice_features(self.builder_config.data))
        # The brain tumour cases of the Decathlon are BraTS cases.
        is_brats = any(name in self.builder_config.release for name in ("brats", "decathlon"))
        citation = _BRATS_CITATION if is_brats else ""
        return self.dataset_info_from_configs(features=features, description=_DESCRIPTION, citation=citation)

    def _example_writer(self) -> tfds.core.ExampleWriter:
        return SortedWriter(self.info.file_format)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, "Iterator | beam.PTransform"]:
        del dl_manager  # The cases are on this machine already.
        config = self.builder_config
        files = {case.case_id: case for case in config.cases}
        split = {name: [files[i] for i in ids] for name, ids in config.split.items() if ids}
        read = functools.partial(_keyed_slices, data=config.data, allow_incomplete=config.allow_incomplete)
        if config.on_beam:
            return {name: _on_beam(read, cases) for name, cases in split.items()}
        # All splits share one reader, which reads the cases of the next split while one is written.
        ordered = [case for cases in split.values() for case in cases]
        reading = zip(ordered, map_in_order(read, ordered), strict=True)
        return {name: self._generate_examples(name, reading, cases) for name, cases in split.items()}

    def _generate_examples(
        self, split: str, reading: Iterator[tuple[CaseFiles, list[KeyedExample]]], cases: Sequence[CaseFiles]
    ) -> Iterator[KeyedExample]:
        for expected in tqdm(cases, desc=f"Reading {split} cases", unit="case"):
            case, examples = next(reading)
            if case is not expected:
                raise AssertionError(f"Splits are not written in their order: {case.case_id} is not of {split}.")
            yield from examples


def _keyed_slices(files: CaseFiles, data: DataConfig, allow_incomplete: bool) -> list[KeyedExample]:
    examples = slice_examples(read_case(files, data, allow_incomplete), data)
    return [(f"{example['case_id']}:{example['slice_index']:04d}", example) for example in examples]


def _head_slices(folder: Path) -> dict[str, tuple[int, int]]:
    """The lowest and the highest slice of each case's head, by the positions of two of its prepared slices.

    A case with a single slice is left out.
    """
    builder, found = tfds.builder_from_directory(str(folder)), {}
    wanted = tfds.decode.PartialDecoding({"case_id": True, "slice_index": True, "position": True})
    for split in builder.info.splits:
        for example in tfds.as_numpy(builder.as_dataset(split=split, decoders=wanted)):
            found.setdefault(example["case_id"].decode(), []).append((example["slice_index"], example["position"]))
    spans = {}
    for case_id, slices in found.items():
        (first, start), (last, stop) = min(slices), max(slices)
        if last > first:
            height = (last - first) / (stop - start)
            lowest = round(first - start * height)
            spans[case_id] = lowest, lowest + round(height)
    return spans


def _on_beam(read: Callable[[CaseFiles], list[KeyedExample]], cases: Sequence[CaseFiles]) -> "beam.PTransform":
    import apache_beam as beam

    return beam.Create(cases) | beam.Reshuffle() | beam.FlatMap(read)


def build(
    cases: Sequence[CaseFiles],
    data: DataConfig,
    folder: Path,
    allow_incomplete: bool,
    release: str,
    fold: int | None = None,
    train_patients: int | None = None,
    beam_options: "PipelineOptions | None" = None,
) -> None:
    """Writes the prepared data set of some cases into an existing folder.

    Args:
      cases: files of the cases.
      data: slice geometry, modalities, classes and split.
      folder: receives the data set; use `atomic.new_folder`.
      allow_incomplete: accept cases without a modality or the label.
      release: name of the release, for the record.
      fold: as for `CasesConfig`.
      train_patients: as for `CasesConfig`.
      beam_options: read the cases on Apache Beam; its workers need access to the cases and the folder. Slices and order
        are the same; shard boundaries of large sets may differ.

    Raises:
      CaseError: a case cannot be used.
      UserError: too few patients for the split.
      OSError: the disk is too small or not writable.
    """
    geometry.warn_of_pixels(data)
    num_slices = len(cases) * len(range(*data.slices))
    bytes_per_pixel = 2 * data.num_modalities + 1  # Half-precision images and the label.
    require_space(folder, num_slices * data.height * data.width * bytes_per_pixel)
    config = CasesConfig(
        data=data,
        cases=cases,
        allow_incomplete=allow_incomplete,
        on_beam=beam_options is not None,
        release=release,
        fold=fold,
        train_patients=train_patients,
    )
    write_data_set(
        lambda data_dir: Cases(data_dir=data_dir, config=config),
        folder,
        lambda: data_set_record(
            data, "cases", release, config.split, config.patients, head_slices=_head_slices(folder)
        ),
        beam_options,
    )
