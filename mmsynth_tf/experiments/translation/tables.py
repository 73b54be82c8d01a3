"""Tables of translations: similarity, lesions, their faithfulness, and the metric of the BraSyn challenge."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from mmsynth_tf.experiments import judges, scoring
from mmsynth_tf.experiments.translation.scores import (
    BRASYN_SSIM,
    DRAWN,
    HEAD,
    LESION,
    MAE,
    PSNR,
    QUALITY,
    REGIONAL_SSIM,
    SSIM,
    WITH_GIVEN,
)
from mmsynth_tf.experiments.translation.translators import COPY, GAN, GIVEN, PAIRED, REAL
from mmsynth_tf.metrics.images import HEALTHY, WHOLE
from mmsynth_tf.metrics.segmentation import DICE, FALSE_ML, INVENTED_ML, MISSED_ML, VOLUME_ERROR_ML
from mmsynth_tf.metrics.summary import Summary, summarise
from mmsynth_tf.reports import report
from mmsynth_tf.storage.records import Record

_DIGITS = {PSNR: 2, SSIM: 3, MAE: 4}


def tables(rows: Sequence[Record]) -> dict[str, report.Table]:
    """Tables of the similarity for all sources and targets, of lesions, their faithfulness, and BraSyn's metric."""
    modality = "modality"
    lesions = [{"steps": "–", **row} for row in rows if row["translator"] != GIVEN and row["metric"] == DICE]
    single = [row for row in lesions if row["given"] == 1]
    kept = sorted(single, key=lambda row: row[modality])
    by_pair = sorted(lesions, key=lambda row: (row[modality], row["given"], row["source"]))
    caption = (
        f"Dice on real and on translated slices of a modality. {judges.CAPTION} {_trainings(rows)} Mean ± sd over "
    )
    return {
        **{metric: _quality_table(rows, metric) for metric in QUALITY},
        "lesion": scoring.summary_table(
            kept,
            ("judge", modality, "translator", "steps"),
            DICE,
            f"{caption}patients, sources and seeds; from one modality",
        ),
        "lesion_by_source": scoring.summary_table(
            by_pair, ("judge", modality, "source", "translator", "steps"), DICE, caption + "patients and seeds"
        ),
        "faithfulness": _faithfulness_table(rows),
        "brasyn": _brasyn_table(rows),
    }


def _faithfulness_table(rows: Sequence[Record]) -> report.Table:
    """How true the lesions of the synthesis stage's translations are."""
    regions = _regions(rows)
    columns: dict[str, Callable[[Sequence[Record], str], str]] = {
        **{
            f"drawn: {name}, ml": lambda own, _, metric=metric: _middle(_values(own, GAN, LESION, DRAWN + metric))
            for name, metric in (("invented", INVENTED_ML), ("false", FALSE_ML), ("missed", MISSED_ML))
        },
        "found: false, ml": lambda own, _: _middle(_values(own, GAN, LESION, FALSE_ML)),
        "in real slices": lambda own, target: _middle(_values(_real(rows, target), REAL, LESION, FALSE_ML)),
        "found: |volume error|, ml": lambda own, _: _middle(np.abs(_values(own, GAN, LESION, VOLUME_ERROR_ML))),
        **{
            f"Dice {region}, found (in real slices)": lambda own, target, region=region: (
                f"{_mean(_values(own, GAN, region, DICE))} ({_mean(_values(_real(rows, target), REAL, region, DICE))})"
            )
            for region in regions
        },
        "MAE in the lesion": lambda own, _: summarise(_values(own, GAN, LESION, MAE)).text(_DIGITS[MAE]),
    }
    caption = (
        "Lesions of the synthesis stage's translations, ml a patient: median / mean. Drawn: what the translator was "
        "told to draw, against the true label. Found: what the judge finds in the translation alone, against the true "
        "label, beside what it finds in real slices of that modality. Invented: false lesions that do not touch a true "
        "one; the other false volume is at the border. "
        f"{judges.CAPTION}"
    )
    return _table_by_source(rows, columns, caption)


def _brasyn_table(rows: Sequence[Record]) -> report.Table:
    """The metric of the BraSyn challenge."""

    def ssim(metric: str, region: str) -> Callable[[Sequence[Record], str], str]:
        return lambda own, _: summarise(_values(own, GAN, region, metric)).text()

    def dice(own: Sequence[Record], region: str) -> str:
        sources = {row["source"] for row in own}
        alone = [row for row in rows if row["source"] in sources]
        made = _values(own, GAN, region, WITH_GIVEN + DICE)
        given, real = _values(alone, GIVEN, region, WITH_GIVEN + DICE), _values(rows, REAL, region, WITH_GIVEN + DICE)
        return " / ".join(_mean(values) for values in (given, made, real))

    columns: dict[str, Callable[[Sequence[Record], str], str]] = {
        **{f"SSIM, {region}": ssim(REGIONAL_SSIM, region) for region in (LESION, HEALTHY, WHOLE)},
        **{f"BraSyn's ssim.py, {region}": ssim(BRASYN_SSIM, region) for region in (LESION, HEALTHY)},
        **{
            f"Dice {region}: given / with translation / all real": lambda own, _, region=region: dice(own, region)
            for region in _regions(rows)
        },
    }
    caption = (
        "SSIM in three dimensions, intensities between the 0.5th and 99.5th percentile of the reference, mean over "
        "the region. BraSyn's ssim.py scales each volume by its own percentiles and averages over all voxels, most of "
        "which are empty. Dice: what the judge finds in the given modalities alone, with the translation, and in "
        f"all real modalities. {judges.CAPTION}"
    )
    return _table_by_source(rows, columns, caption)


def _table_by_source(
    rows: Sequence[Record], columns: Mapping[str, Callable[[Sequence[Record], str], str]], caption: str
) -> report.Table:
    """A row for all sources of each number, then one for each source and target of the synthesis stage."""
    made = [row for row in rows if row["translator"] == GAN]
    numbers = sorted({row["given"] for row in made})
    pairs = sorted({(row["given"], row["modality"], row["source"]) for row in made})
    body = []
    for number in numbers:
        own = [row for row in made if row["given"] == number]
        body.append([f"any {number}", "all", *(column(own, "") for column in columns.values())])
    for number, target, source in pairs:
        own = [row for row in made if (row["given"], row["modality"], row["source"]) == (number, target, source)]
        body.append([source, target, *(column(own, target) for column in columns.values())])
    return report.Table(["source", "target", *columns], body, caption)


def _regions(rows: Iterable[Record]) -> list[str]:
    """The evaluation regions, in order."""
    return list(dict.fromkeys(row["region"] for row in rows if row["metric"] == DICE))


def _real(rows: Iterable[Record], target: str) -> list[Record]:
    """The records of a modality's real slices; of all without a target."""
    return [row for row in rows if row["translator"] == REAL and target in ("", row["modality"])]


def _values(rows: Iterable[Record], translator: str, region: str, metric: str) -> list[float]:
    wanted = (translator, region, metric)
    return [row["value"] for row in rows if (row["translator"], row["region"], row["metric"]) == wanted]


def _middle(values: Sequence[float]) -> str:
    """Median / mean."""
    return f"{np.median(values):.2f} / {np.mean(values):.2f}" if len(values) else "–"


def _mean(values: Sequence[float]) -> str:
    found: Summary = summarise(values)
    return f"{found.mean:.3f}" if found.count else "–"


def _quality_table(rows: Sequence[Record], metric: str) -> report.Table:
    rows = [row for row in rows if row["metric"] == metric and row["region"] == HEAD]
    body = []
    for number in sorted({row["given"] for row in rows}):
        own = [row for row in rows if row["given"] == number]
        for pair in dict.fromkeys((row["source"], row["modality"]) for row in own):
            of_pair = [row for row in own if (row["source"], row["modality"]) == pair]
            body.append([*pair, *_compare(of_pair, _DIGITS[metric])])
        body.append([f"any {number}", "all", *_compare(own, _DIGITS[metric])])
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
    difference = {key: gan[key] - paired[key] for key in gan.keys() & paired.keys()}
    return [summarise(values.values()).text(digits) for values in (gan, paired, difference, copy)]


def _per_case(rows: Sequence[Record], translator: str) -> Mapping[tuple, float]:
    """Mean over seeds for each case and pair."""
    values = {}
    for row in rows:
        if row["translator"] == translator:
            values.setdefault((row["case"], row["source"], row["modality"]), []).append(row["value"])
    return {key: float(np.mean(found)) for key, found in values.items()}
