"""Similarity of synthetic and real slices; each measure has a real-versus-real reference (method §8).

Measures are Fréchet distances, diversity, a modality classifier, agreement of modalities (registration), structure
maps, intensities, and the distributions of lesions, heads and positions. The networks used here took no part in
training the generators. The compared sets are real training slices, real unseen slices and synthetic slices; at most
5,000 slices of each.
"""

import functools
import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mmsynth_tf import constants, prepared
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import judges
from mmsynth_tf.experiments.fidelity import (
    distributions,
    diversity,
    fidelity_tables,
    registration,
    set_distances,
    slice_statistics,
)
from mmsynth_tf.experiments.slice_sets import SliceSet, sources
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.metrics import feature_extractors, modality_classifier, radiomics_distance
from mmsynth_tf.metrics.images import ms_ssim_scales
from mmsynth_tf.reports import report
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder

_SLICES = 5_000
_SLICES_RADIOMICS = 100  # Each slice takes half a second in each comparison.
_CLASSIFIER_STEPS = 2_000

SEGMENTER, INCEPTION, RADIOMICS = "segmenter", "inception", "frd"
DIVERSITY, CLASSIFIER, STATISTICS, REGISTRATION = "diversity", "classifier", "statistics", "registration"
DISTRIBUTIONS = "distributions"
MEASURES = (SEGMENTER, INCEPTION, RADIOMICS, DIVERSITY, CLASSIFIER, STATISTICS, REGISTRATION, DISTRIBUTIONS)

_LOG = logging.getLogger(__name__)


def run(request: Request) -> dict[str, report.Table]:
    """Computes all `MEASURES`, or only those named in `request.rows`.

    `request.steps` is the number of training steps of the classifier, which is trained once for each of
    `request.seeds`. Measures whose package or weights are not installed are omitted; the table names them.

    Raises:
      UserError: an unknown measure.
      PreparedDataError: a data set does not fit the models.
      LeakError: patients of the tested split were used in training.
    """
    unknown = sorted(set(request.rows) - set(MEASURES))
    if unknown:
        raise UserError(f"No such measure: {', '.join(unknown)}. The measures are {', '.join(MEASURES)}.")
    fidelity = _Fidelity(request)
    rows, left_out = [], {}
    for name in request.rows or MEASURES:
        try:
            rows += fidelity.measures[name]()
        except feature_extractors.UnavailableError as error:
            left_out[name] = str(error)
            _LOG.warning("Left out: %s, because %s.", name, error)
    rows += fidelity.study.part("acceptance", fidelity.acceptance)
    modalities = request.real.config.modalities
    return fidelity.study.finish(rows, fidelity_tables.tables(rows, modalities, left_out))


class _Fidelity:
    """The measures by name; each returns its records and stores them in parts of the study."""

    def __init__(self, request: Request):
        self.request = request
        self.study = Study("fidelity", request, (constants.SEGMENTATION, constants.SYNTHESIS))
        self.train, self.unseen, self.synthetic = sources(request, _SLICES)
        self.modalities = request.real.config.modalities
        self.settings = run_folder.read_config(request.workdir / constants.SYNTHESIS).structure_map
        self.measures: dict[str, Callable[[], list[Record]]] = {
            SEGMENTER: self._segmenter_distance,
            INCEPTION: self._inception_distance,
            RADIOMICS: self._radiomics_distance,
            DIVERSITY: self._diversity,
            CLASSIFIER: self._classifier,
            STATISTICS: self._statistics,
            REGISTRATION: self._registration,
            DISTRIBUTIONS: self._distributions,
        }

    @property
    def _sets(self) -> Sequence[SliceSet]:
        return self.train, self.unseen, *self.synthetic

    def acceptance(self) -> Iterator[Record]:
        """Acceptance rates of the filters of each synthetic set, from its record."""
        for data in self.request.synthetic:
            generation = data.record["generation"]
            if prepared.has_real_anatomy(generation):
                continue  # Real maps are not filtered.
            for name in fidelity_tables.ACCEPTANCE:
                yield {"test_data": data_name(data), "split": "train", "metric": name, "value": generation[name]}

    def _segmenter_distance(self) -> list[Record]:
        judge = judges.Judge(self.request)
        return self._frechet(
            f"{SEGMENTER}_{judge.key}", judge.name, lambda: feature_extractors.SegmenterFeatures(judge.segmenter)
        )

    def _inception_distance(self) -> list[Record]:
        return self._frechet(INCEPTION, INCEPTION, feature_extractors.InceptionFeatures)

    def _frechet(self, part: str, name: str, extractor: Callable[[], feature_extractors.Extractor]) -> list[Record]:
        def measure() -> Iterator[Record]:
            compared = self._compared(extractor(), _SLICES)
            return self._distances(name, compared, set_distances.frechet_distances)

        return self.study.part(part, measure)

    def _radiomics_distance(self) -> list[Record]:
        def measure() -> Iterator[Record]:
            radiomics_distance.require_packages()
            compared = self._compared(lambda images: images, _SLICES_RADIOMICS)
            return self._distances(RADIOMICS, compared, set_distances.radiomics_distances)

        return self.study.part(RADIOMICS, measure)

    def _compared(self, extract: feature_extractors.Extractor, limit: int) -> list[set_distances.Comparison]:
        train, unseen, synthetic = sources(self.request, limit)
        found = [set_distances.FeatureSet.of(source, extract) for source in (train, unseen, *synthetic)]
        return list(set_distances.comparisons(found[0], found[1], found[2:], self.request.seeds[0]))

    def _distances(self, name: str, compared: list[set_distances.Comparison], measure) -> Iterator[Record]:
        for row in set_distances.distance_records(compared, self.modalities, measure):
            yield {"features": name, **row, "seed": self.request.seeds[0]}

    def _diversity(self) -> list[Record]:
        seed, scales = self.request.seeds[0], ms_ssim_scales(self.request.real.config.image_size)

        def measure(source: SliceSet) -> Iterator[Record]:
            for row in diversity.diversity_records(source, self.settings, seed):
                yield {**row, "scales": scales, "seed": seed}

        return self._of_each_set(f"{DIVERSITY}_seed{seed}", measure)

    def _statistics(self) -> list[Record]:
        return self._of_each_set(STATISTICS, lambda source: slice_statistics.statistics_records(source, self.settings))

    def _registration(self) -> list[Record]:
        return self._of_each_set(REGISTRATION, lambda source: registration.registration_records(source, self.settings))

    def _distributions(self) -> list[Record]:
        training = functools.cache(lambda: distributions.describe(self.train, self.settings))
        return self._of_each_set(
            DISTRIBUTIONS, lambda source: distributions.distribution_records(source, self.settings, training())
        )

    def _of_each_set(self, name: str, measure: Callable[[SliceSet], Sequence[Record]]) -> list[Record]:
        rows = []
        for source in self._sets:
            part = f"{name}_{data_name(source.data)}_{source.split}"
            rows += self.study.part(part, lambda source=source: measure(source))
        return rows

    def _classifier(self) -> list[Record]:
        steps = self.request.steps or _CLASSIFIER_STEPS
        rows = []
        for seed in self.request.seeds:
            part = f"{CLASSIFIER}_seed{seed}_steps{steps}"
            rows += self.study.part(part, lambda seed=seed: self._train_classifier(seed, steps))
        return rows

    def _train_classifier(self, seed: int, steps: int) -> Iterator[Record]:
        data, config = self.request.training, self.request.real.config
        model = modality_classifier.train(data.slices("train"), config.image_size, config.num_modalities, steps, seed)
        for source in (self.unseen, *self.synthetic):
            right, counts = np.zeros((2, config.num_modalities), np.int64)
            for batch in source.batches():
                taken_for = modality_classifier.classify(model, batch["image"])
                right += np.sum((taken_for == np.arange(config.num_modalities)) & batch["available"], axis=0)
                counts += np.sum(batch["available"], axis=0)
            for modality, hits, count in zip(self.modalities, right, counts, strict=True):
                value = float(hits / count) if count else np.nan
                row = {**source.key, "metric": fidelity_tables.ACCURACY, "modality": modality, "value": value}
                yield {**row, "count": int(count), "seed": seed, "steps": steps}
