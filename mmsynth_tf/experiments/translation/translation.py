"""Translation between modalities of a patient: similarity, faithfulness of lesions, and U-Nets of registered pairs."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import judges, leaks, scoring
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.experiments.translation import paired_regressor, scores, translators
from mmsynth_tf.experiments.translation.tables import tables
from mmsynth_tf.experiments.translation.translators import COPY, GAN, GIVEN, PAIRED, REAL, Translate
from mmsynth_tf.experiments.translation.volumes import only, volumes
from mmsynth_tf.reading import splits
from mmsynth_tf.reports import figures, finished, report
from mmsynth_tf.stages.synthesis.translation import SURE, Translator
from mmsynth_tf.storage import atomic
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

EXAMPLES_FILE = "examples.png"

_EXAMPLE_CASES = 2
_STAGES = (constants.SYNTHESIS, constants.SEGMENTATION, constants.JOINT)


def run(request: Request) -> dict[str, report.Table]:
    """Translates from single modalities, pairs and all but the target: similarity to real slices, and lesions.

    Lesions are those that the joint segmenter is sure of, or without it the paper's segmenters together.

    Raises:
      PreparedDataError: the data set does not fit the models.
      LeakError: a test patient was used in training.
      UserError: there is only one modality.
    """
    comparison = _Comparison.prepare(request)
    seed, steps = comparison.config.runtime.seed, comparison.config.synthesis.steps
    rows = [
        *comparison.scored(REAL, REAL, lambda: (None, {"seed": seed})),
        *comparison.scored(GIVEN, GIVEN, lambda: (None, {"seed": seed})),
        *comparison.scored(COPY, COPY, lambda: (translators.copy, {"seed": seed})),
        *comparison.scored(comparison.gan_part, GAN, lambda: (comparison.gan, {"seed": seed, "steps": steps})),
    ]
    for number in request.seeds:
        rows += comparison.scored(comparison.paired_part(number), PAIRED, functools.partial(comparison.paired, number))
    shown = {"translated": comparison.gan, "from registered pairs": comparison.paired(request.seeds[0])[0]}
    _draw_examples(comparison.study, request, shown)
    return comparison.study.finish(rows, tables(rows))


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """The translators of a work directory, and what they are scored by.

    Attributes:
      request: of the experiment.
      study: its folder.
      config: of the synthesis stage.
      unet: settings of the U-Nets of registered pairs: those of the segmentation stage.
      gan: the synthesis stage.
      judge: finds lesions.
    """

    request: Request
    study: Study
    config: configs.Config
    unet: configs.Config
    gan: Translate
    judge: judges.Judge

    @classmethod
    def prepare(cls, request: Request) -> "_Comparison":
        """Loads the stages of the request, and refuses data that does not fit them."""
        gan, config = runs.load(constants.SYNTHESIS, request.workdir)
        joint = run_folder.has_run(constants.JOINT, request.workdir)
        finder, _ = runs.load(constants.JOINT if joint else constants.SEGMENTATION, request.workdir)
        unet = run_folder.read_config(request.workdir / constants.SEGMENTATION)
        _require_usable(request, config)
        by_joint = joint and request.protocol == constants.JOINT
        judge = judges.Judge(request, stage=constants.JOINT if by_joint else constants.SEGMENTATION)
        translate = translators.of_synthesis_stage(Translator(gan, config.translation), finder, config.data)
        return cls(request, Study("translation", request, _STAGES), config, unet, translate, judge)

    @property
    def steps(self) -> int:
        """Training steps of the regressor: as many as those of the stage it is compared with."""
        return self.request.steps or self.config.synthesis.steps

    @property
    def gan_part(self) -> str:
        how = self.config.translation
        return (
            f"{GAN}_{self.config.synthesis.steps}_steps_map_share_{how.map_share:g}_guide_{how.guide_share:g}"
            f"_sure_{SURE:g}"
        )

    def paired_part(self, seed: int) -> str:
        return f"{PAIRED}_{self.steps}_steps_validated_seed{seed}"

    def paired(self, seed: int) -> tuple[Translate, Record]:
        """The U-Nets of registered pairs, trained with a seed, and the fields of their records."""
        changed, folder = tree.override(self.unet, {"runtime.seed": seed}), self.study.parts / self.paired_part(seed)
        validate = not _patients_chose_weights(self.request)
        trained = paired_regressor.train(self.request.training, changed, self.steps, folder, validate)
        chosen = {"kept_step": trained.kept_step, "validation_slices": trained.validation_slices}
        return translators.of_registered_pairs(trained.regressor), {"seed": seed, "steps": self.steps, **chosen}

    def scored(self, part: str, name: str, make: Callable[[], tuple[Translate | None, Record]]) -> list[Record]:
        """The records of a translator, measured or kept."""

        def measure() -> Iterator[Record]:
            translate, common = make()
            common = {"test_data": data_name(self.request.real), "judge": self.judge.name, **common}
            cases = volumes(self.request.real, self.request.split)
            return scores.score(name, translate, self.judge.segmenter, cases, self.config.data, **common)

        return self.study.part(f"{part}_judge_{self.judge.key}", measure)


def _patients_chose_weights(request: Request) -> bool:
    """Whether validation patients of the training data are among the tested patients."""
    validation = scoring.patients_of(request.training.record, splits.VALIDATION)
    return bool(validation & scoring.patients_of(request.real.record, request.split))


def _require_usable(request: Request, config: configs.Config) -> None:
    prepared.require_same_geometry(request.real, config.data, f"the models in {request.workdir}")
    stages = [stage for stage in _STAGES if run_folder.has_run(stage, request.workdir)]
    trained_on = [record for stage in stages for record in run_folder.trained_on(stage, request.workdir)]
    leaks.refuse_leak([*trained_on, request.training.record], request.real, request.split)
    if config.data.num_modalities < 2:
        raise UserError(
            f"{request.real.path} has only one modality ({config.data.modalities[0]}), so there is nothing to "
            "translate to. Give a data set with several modalities."
        )


def _draw_examples(study: Study, request: Request, made_by: Mapping[str, Translate]) -> None:
    """Draws translations of two patients' slices with the largest lesion, each from the preceding modality."""
    modalities, columns, names = request.real.config.modalities, {}, []
    whole = (case for case in volumes(request.real, request.split) if case.whole)
    for case in itertools.islice(whole, _EXAMPLE_CASES):
        images = case.images[np.argmax((case.label > 0).sum(axis=(1, 2)))]
        for target in range(len(modalities)):
            source = (target - 1) % len(modalities)
            shown, given = {"source": images[source]}, only(images[None], [source])
            shown |= {name: make(given, [source], target).images[0] for name, make in made_by.items()}
            for name, image in (shown | {"real": images[target]}).items():
                columns.setdefault(name, []).append(image[..., 0])
            names.append(f"{modalities[source]} → {modalities[target]}")
    if columns:
        study.folder.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_path(study.folder / EXAMPLES_FILE) as path:
            path.write_bytes(figures.slice_grid(columns, names))


def report_figures(request: Request, rows: Sequence[Record]) -> list[report.Figure]:
    """The figure of translations that the experiment saved."""
    del rows  # The figure shows slices, not records.
    caption = "Translations of the test patients' slices with the largest lesions, each from the preceding modality."
    return finished.kept_picture(request.workdir, "translation", EXAMPLES_FILE, caption)
