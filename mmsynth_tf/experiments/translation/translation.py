"""Translation between modalities of a patient: similarity, lesion Dice, and a regressor trained on registered pairs."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from mmsynth_tf import configs, constants, prepared
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import judges, leaks, scoring
from mmsynth_tf.experiments.study import Request, Study, data_name
from mmsynth_tf.experiments.translation import paired_regressor
from mmsynth_tf.metrics.images import masked_mae, masked_psnr, masked_ssim
from mmsynth_tf.metrics.segmentation import DICE, region_metrics
from mmsynth_tf.metrics.summary import summarise
from mmsynth_tf.reading import splits
from mmsynth_tf.reports import figures, finished, report
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.stages.synthesis.translation import Translator, sure_lesion
from mmsynth_tf.storage import atomic
from mmsynth_tf.storage.records import Record
from mmsynth_tf.training import run_folder, runs

# Maps slices float32 [D, H, W, 1] in [0, 1], and the indices of source and target modality, to slices of that shape.
Translate = Callable[[np.ndarray, int, int], np.ndarray]

# Translators by their names in records. "real" is the target itself; "copy" is the unchanged source, the baseline.
REAL, COPY, GAN, PAIRED = "real", "copy", "gan", "paired"
PSNR, SSIM, MAE = "psnr", "ssim", "mae"
EXAMPLES_FILE = "examples.png"

_QUALITY = {PSNR: masked_psnr, SSIM: masked_ssim, MAE: masked_mae}
_DIGITS = {PSNR: 2, SSIM: 3, MAE: 4}
_HEAD = "head"
_BATCH = 32
_EXAMPLE_CASES = 2
_STAGES = (constants.SYNTHESIS, constants.SEGMENTATION)


@dataclasses.dataclass(frozen=True)
class Volume:
    """The registered slices of a patient.

    Attributes:
      case_id: from the data set.
      images: float32 [D, n, H, W, 1] in [0, 1].
      available: bool [D, n], whether a slice has a modality.
      label: uint8 [D, H, W]; None if the case has no label.
    """

    case_id: str
    images: np.ndarray
    available: np.ndarray
    label: np.ndarray | None


def run(request: Request) -> dict[str, report.Table]:
    """Translates every modality to every other: similarity to real slices inside the head, and Dice of the lesion.

    Raises:
      PreparedDataError: the data set does not fit the models.
      LeakError: a test patient was used in training.
      UserError: there is only one modality.
    """
    gan, synthesis_config = runs.load(constants.SYNTHESIS, request.workdir)
    segmenter, config = runs.load(constants.SEGMENTATION, request.workdir)
    _require_usable(request, config)
    seed, settings, how = synthesis_config.runtime.seed, synthesis_config.synthesis, synthesis_config.translation
    # The regressor is trained for as many steps as the stage it is compared with.
    steps = request.steps or settings.steps
    study, translate = Study("translation", request, _STAGES), gan_translator(Translator(gan, how), segmenter)
    validate, judge = not _patients_chose_weights(request), judges.Judge(request)

    def scored(part: str, name: str, make: Callable[[], tuple[Translate | None, Record]]) -> list[Record]:
        def measure() -> Iterator[Record]:
            translator, common = make()
            common = {"test_data": data_name(request.real), "judge": judge.name, "translator": name, **common}
            return score(translator, judge.segmenter, volumes(request.real, request.split), config.data, **common)

        return study.part(f"{part}_judge_{judge.key}", measure)

    def paired(seed: int) -> tuple[Translate, Record]:
        changed = tree.override(config, {"runtime.seed": seed})
        trained = paired_regressor.train(request.training, changed, steps, study.parts / paired_part(seed), validate)

        def translate(images: np.ndarray, source: int, target: int) -> np.ndarray:
            return in_batches(functools.partial(trained.regressor.translate, target=target), images)

        chosen = {"kept_step": trained.kept_step, "validation_slices": trained.validation_slices}
        return translate, {"seed": seed, "steps": steps, **chosen}

    def paired_part(seed: int) -> str:
        return f"{PAIRED}_{steps}_steps_validated_seed{seed}"

    gan_part = f"{GAN}_{settings.steps}_steps_map_share_{how.map_share:g}_guide_{how.guide_share:g}"
    rows = [
        *scored(REAL, REAL, lambda: (None, {"seed": seed})),
        *scored(COPY, COPY, lambda: (_copy, {"seed": seed})),
        *scored(gan_part, GAN, lambda: (translate, {"seed": seed, "steps": settings.steps})),
    ]
    for number in request.seeds:
        rows += scored(paired_part(number), PAIRED, functools.partial(paired, number))
    shown = {"translated": translate, "from registered pairs": paired(request.seeds[0])[0]}
    _draw_examples(study, request, shown)
    return study.finish(rows, tables(rows))


def _patients_chose_weights(request: Request) -> bool:
    """Whether validation patients of the training data are among the tested patients."""
    validation = scoring.patients_of(request.training.record, splits.VALIDATION)
    return bool(validation & scoring.patients_of(request.real.record, request.split))


def _require_usable(request: Request, config: configs.Config) -> None:
    prepared.require_same_geometry(request.real, config.data, f"the models in {request.workdir}")
    trained_on = [record for stage in _STAGES for record in run_folder.trained_on(stage, request.workdir)]
    leaks.refuse_leak([*trained_on, request.training.record], request.real, request.split)
    if config.data.num_modalities < 2:
        raise UserError(
            f"{request.real.path} has only one modality ({config.data.modalities[0]}), so there is nothing to "
            "translate to. Give a data set with several modalities."
        )


def gan_translator(translator: Translator, segmenter: Segmenter) -> Translate:
    """The synthesis stage as a translator; it draws the lesions that the segmenter is sure of in the source."""
    count = segmenter.num_modalities

    def translate(images: np.ndarray, source: int, target: int) -> np.ndarray:
        def translate_part(part: tf.Tensor) -> tf.Tensor:
            lesion, _ = sure_lesion(segmenter.lesion_processor.segment(part, source).numpy())
            given = part * tf.one_hot(source, count)
            return translator.translate(given, tf.fill([part.shape[0]], target), lesion[..., None])

        return in_batches(translate_part, images)

    return translate


def _copy(images: np.ndarray, source: int, target: int) -> np.ndarray:
    del source, target
    return images


def in_batches(function: Callable[[tf.Tensor], tf.Tensor], images: np.ndarray) -> np.ndarray:
    """Applies a function to slices [N, ...] in small batches."""
    parts = [function(tf.constant(images[start : start + _BATCH])) for start in range(0, len(images), _BATCH)]
    return np.concatenate([np.asarray(part) for part in parts])


def volumes(data: prepared.PreparedData, split: str) -> Iterator[Volume]:
    """Reads the cases of a split, one at a time."""
    for case_id in data.cases[split]:
        own = data.slices(split).filter(lambda x, case_id=case_id: x["case_id"] == case_id)
        # The files may not hold the slices of a case in sequence.
        examples = sorted(own.as_numpy_iterator(), key=lambda x: x["slice_index"])
        if examples:
            yield _volume(case_id, examples)


def _volume(case_id: str, examples: Sequence[dict]) -> Volume:
    image, available, label = (np.stack([x[name] for x in examples]) for name in ("image", "available", "label"))
    return Volume(case_id, image.astype(np.float32), available, label[..., 0] if examples[0]["has_label"] else None)


def score(
    translate: Translate | None,
    segmenter: Segmenter,
    cases: Iterable[Volume],
    data: configs.DataConfig,
    **common: str | int,
) -> Iterator[Record]:
    """Scores translations case by case, with all slices of a case together.

    Args:
      translate: a translator; None scores the segmenter of each modality on its real slices.
      segmenter: segments the translations; trained on real slices and independent of the translator.
      cases: registered volumes.
      data: gives modalities and regions.
      **common: fields of every record.

    Yields:
      One flat record for each case, pair of modalities, region and metric.
    """
    pairs = _pairs(data.num_modalities) if translate else [(i, i) for i in range(data.num_modalities)]
    for case, (source, target) in itertools.product(cases, pairs):
        both = case.available[:, source] & case.available[:, target]
        if not both.any():
            continue
        key = {
            **common,
            "source": data.modalities[source],
            "modality": data.modalities[target],
            "unit": scoring.VOLUME,
            "case": case.case_id,
            "slices": int(both.sum()),
        }
        real, made = case.images[both, target], case.images[both, source]
        if translate:
            made = translate(made, source, target)
            # The mask is the same for every pair.
            head = np.any(case.images[both] > 0, axis=1)[..., 0]
            for name, measure in _QUALITY.items():
                value = measure(real[..., 0], made[..., 0], head)
                yield {**key, "region": _HEAD, "metric": name, "value": value}
        if case.label is not None:
            found = in_batches(functools.partial(_find_lesion, segmenter, modality=target), made)
            for region, values in region_metrics(case.label[both], found, data.regions).items():
                for name, value in values.items():
                    yield {**key, "region": region, "metric": name, "value": value}


def _find_lesion(segmenter: Segmenter, images: tf.Tensor, modality: int) -> np.ndarray:
    """Labels int32 [B, H, W] of slices [B, H, W, 1]."""
    return np.argmax(segmenter.lesion_processor.segment(images, modality).numpy(), axis=-1).astype(np.int32)


def _pairs(count: int) -> list[tuple[int, int]]:
    """Ordered pairs of different modalities, sorted by target."""
    return [(source, target) for target in range(count) for source in range(count) if source != target]


def tables(rows: Sequence[Record]) -> dict[str, report.Table]:
    """Tables of the similarity of each pair, and of the Dice by modality and by pair."""
    modality = "modality"
    lesions = [{"steps": "–", **row} for row in rows if row["region"] != _HEAD]
    kept = sorted(lesions, key=lambda row: row[modality])
    by_pair = sorted(lesions, key=lambda row: (row[modality], row["source"]))
    caption = (
        f"Dice on real and on translated slices of a modality. {judges.CAPTION} {_trainings(rows)} Mean ± sd over "
    )
    return {
        **{metric: _quality_table(rows, metric) for metric in _QUALITY},
        "lesion": scoring.summary_table(
            kept, ("judge", modality, "translator", "steps"), DICE, caption + "patients, sources and seeds"
        ),
        "lesion_by_source": scoring.summary_table(
            by_pair, ("judge", modality, "source", "translator", "steps"), DICE, caption + "patients and seeds"
        ),
    }


def _quality_table(rows: Sequence[Record], metric: str) -> report.Table:
    rows = [row for row in rows if row["metric"] == metric]
    pairs = list(dict.fromkeys((row["source"], row["modality"]) for row in rows))
    body = [
        [*pair, *_compare([row for row in rows if (row["source"], row["modality"]) == pair], _DIGITS[metric])]
        for pair in pairs
    ]
    body.append(["all", "all", *_compare(rows, _DIGITS[metric])])
    unit = ", dB" if metric == PSNR else ""
    return report.Table(
        [
            *("source", "target", f"synthesis stage{_steps(rows, GAN)}", f"registered pairs{_steps(rows, PAIRED)}"),
            *("difference", "source itself"),
        ],
        body,
        f"{metric.upper()}{unit} inside the head, mean ± sd over patients; difference: synthesis stage minus "
        f"registered pairs, by patient. {_trainings(rows)}",
    )


def _steps(rows: Iterable[Record], translator: str) -> str:
    """Training steps of a translator, for its column header."""
    steps = dict.fromkeys(row["steps"] for row in rows if row["translator"] == translator and "steps" in row)
    return "".join(f", {number} steps" for number in steps)


def _trainings(rows: Iterable[Record]) -> str:
    """Training steps of both compared models, and the selected weights of the reference."""
    named = {(row["translator"], row["seed"]): row for row in rows if "steps" in row}
    texts = []
    for (translator, seed), row in named.items():
        steps = f"{row['steps']} training steps"
        if translator == GAN:
            texts.append(f"Synthesis stage (gan): {steps}.")
            continue
        weights = "the last weights, because there are no validation patients"
        if row.get("validation_slices"):
            weights = f"the weights of step {row['kept_step']}, best on {row['validation_slices']} validation slices"
        texts.append(f"Registered pairs (paired), seed {seed}: U-Nets, {steps}, {weights}.")
    return " ".join(texts)


def _compare(rows: Sequence[Record], digits: int) -> list[str]:
    gan, paired, copy = (_per_case(rows, name) for name in (GAN, PAIRED, COPY))
    difference = {key: gan[key] - paired[key] for key in gan}
    return [summarise(values.values()).text(digits) for values in (gan, paired, difference, copy)]


def _per_case(rows: Sequence[Record], translator: str) -> Mapping[tuple, float]:
    """Mean over seeds for each case and pair."""
    values = {}
    for row in rows:
        if row["translator"] == translator:
            values.setdefault((row["case"], row["source"], row["modality"]), []).append(row["value"])
    return {key: float(np.mean(found)) for key, found in values.items()}


def _draw_examples(study: Study, request: Request, translators: Mapping[str, Translate]) -> None:
    """Draws translations of two patients' slices with the largest lesion, each from the preceding modality."""
    modalities, columns, names = request.real.config.modalities, {}, []
    for case in itertools.islice(_complete(volumes(request.real, request.split)), _EXAMPLE_CASES):
        images = case.images[np.argmax((case.label > 0).sum(axis=(1, 2)))]
        for target in range(len(modalities)):
            source = (target - 1) % len(modalities)
            shown = {"source": images[source]}
            shown |= {name: make(images[source][None], source, target)[0] for name, make in translators.items()}
            for name, image in (shown | {"real": images[target]}).items():
                columns.setdefault(name, []).append(image[..., 0])
            names.append(f"{modalities[source]} → {modalities[target]}")
    if columns:
        study.folder.mkdir(parents=True, exist_ok=True)
        with atomic.atomic_path(study.folder / EXAMPLES_FILE) as path:
            path.write_bytes(figures.slice_grid(columns, names))


def _complete(cases: Iterable[Volume]) -> Iterator[Volume]:
    return (case for case in cases if case.label is not None and case.available.all())


def report_figures(request: Request, rows: Sequence[Record]) -> list[report.Figure]:
    """The figure of translations that the experiment saved."""
    del rows  # The figure shows slices, not records.
    caption = "Translations of the test patients' slices with the largest lesions, each from the preceding modality."
    return finished.kept_picture(request.workdir, "translation", EXAMPLES_FILE, caption)
