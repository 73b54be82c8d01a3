"""Writes the tables of measured results in the documents from docs/experiments/records/.

    python -m tools.studies.tables

A table stands between `<!-- results: NAME -->` and `<!-- end -->`, NAME being a function of `TABLES`.
"""

import csv
import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tools.studies import cells, joint_table
from tools.studies.cells import Row

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    REPOSITORY / "README.md",
    REPOSITORY / "docs" / "experiments" / "translation.md",
    REPOSITORY / "docs" / "experiments" / "usability_17_cases.md",
)
_STUDY = REPOSITORY / "docs" / "experiments" / "records" / "usability_17_cases"
_MARKED = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# Rows of sets that were built with `generation.real_anatomy`, by the word for them: the experiment calls all sets
# synthetic. Not every study has both.
_REAL_ANATOMY = {"inserted": "usability_real_anatomy.csv", "warped": "usability_warped_lesions.csv"}
_REGIONS = ("WT", "TC", "ET")
_MODALITIES = ("t1", "t2", "t1c", "flair")
# The set of generated slices that fidelity and the lesion check judge.
_SYNTHETIC = "unfiltered"
_COMPARED = (
    ("real_1_inserted_3", "real_1"),
    ("real_1_inserted_3", "real_1_augmented_3"),
    ("real_1_inserted_3", "real_1_synthetic_3"),
    ("real_1_synthetic_3", "real_1"),
    ("real_1_synthetic_3", "real_1_augmented_3"),
    ("real_1_augmented_3", "real_1"),
)
# Measures of registration with more to say than their name.
_REGISTRATION = {"registration dice": "Dice of two modalities' structure maps, which losses raise"}
_WORDS = {
    "real": "real",
    "synthetic": "synthetic",
    "inserted": "lesions in real slices",
    "warped": "warped lesions in real slices",
    "augmented": "augmented",
}


def render(document: str) -> str:
    """The document with all of its tables made anew.

    Raises:
      KeyError: a table has no function.
    """
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", document)


def quality() -> str:
    """Maps and slices beside real ones; T1 / T2 / T1c / FLAIR and their mean where it says no less."""
    fidelity = _markdown("fidelity_table.md")
    acceptance = json.loads((_STUDY / "synthetic_data_set.json").read_text(encoding="utf-8"))["generation"]

    def beside(question: str, measure: str, real: str) -> tuple[str, str, str]:
        return (
            question,
            cells.each(_measured(fidelity, measure, _SYNTHETIC)),
            cells.each(_measured(fidelity, measure, real)),
        )

    return cells.table(
        ("question", "synthetic", "real"),
        [
            ("structure maps that pass Algorithm 3", f"{acceptance['structure_acceptance']:.0%}", "–"),
            *_registration_rows(),
            _frechet_row(fidelity),
            _lesion_row(),
            _nearest_row(),
            beside("named as their modality by a classifier (real: test patients)", "classifier", "real (test)"),
            beside("MS-SSIM of two patients' slices (higher: less variety)", "ms-ssim", "real (train)"),
        ],
    )


def _measured(fidelity: Sequence[Row], measure: str, named: str) -> list[float]:
    """A measure of each modality in one set."""
    [row] = (r for r in fidelity if r["measure"].startswith(measure) and r["set"].startswith(named))
    return [cells.number(row[modality]) for modality in _MODALITIES]


def _registration_rows() -> list[tuple[str, str, str]]:
    registration = _markdown("fidelity_registration.md")

    def pairs(measure: str, named: str) -> str:
        [row] = (r for r in registration if r["measure"] == measure and r["set"].startswith(named))
        values = [cells.number(value) for name, value in row.items() if "–" in name]
        return f"{min(values):.3f} / {np.mean(values):.3f}"

    return [
        (
            f"registration: {_REGISTRATION.get(measure, measure)}, lowest pair / mean",
            pairs(measure, _SYNTHETIC),
            f"{pairs(measure, 'real (train)')} (training patients)",
        )
        for measure in dict.fromkeys(row["measure"] for row in registration)
    ]


def _frechet_row(fidelity: Sequence[Row]) -> tuple[str, str, str]:
    synthetic, real = (np.mean(_measured(fidelity, "frechet", named)) for named in (_SYNTHETIC, "real (train)"))
    question = f"Fréchet distance to training slices ({_frechet_features(fidelity)})"
    return question, f"{synthetic:.3f}", f"{real:.3f} (half of the training patients to the others)"


def _lesion_row() -> tuple[str, str, str]:
    rows = _judged(_records("lesion_check.csv", region="WT", metric="dice"))

    def found(named: str) -> str:
        own = [row for row in rows if row["test_data"] == named]
        by_modality = [cells.values(row for row in own if row["modality"] == modality) for modality in _MODALITIES]
        return cells.each([float(np.nanmean(values)) for values in by_modality])

    return f"lesion check: WT Dice a slice, by {_judge_of(rows)}", found(_SYNTHETIC), found("real")


def _nearest_row() -> tuple[str, str, str]:
    def first_percentile(named: str) -> str:
        [row] = (r for r in _markdown("memorisation_table.md") if r["space"] == "image" and r["set"].startswith(named))
        return row["1st percentile"]

    question = "distance to the nearest training slice, 1st percentile"
    return question, first_percentile("synthetic"), f"{first_percentile('real (test)')} (test patients)"


def usability() -> str:
    """The first split: a row a mixture, means over patients, modalities and seeds."""
    rows = _dice("usability.csv")
    mixtures = dict.fromkeys((row["mixture"], row["order"]) for row in rows)
    body = [
        (
            ", ".join(filter(None, [_described(name), "" if order == "random" else order])),
            *(f"{_mean(rows, name, region):.3f}" for region in _REGIONS),
        )
        for name, order in mixtures
    ]
    return cells.table(("trained on (number of slices, real training set = 1)", *_REGIONS), body)


def splits() -> str:
    """Splits with other test patients in each: means over patients, modalities and seeds."""
    rows = _of_splits()
    by_split = {
        number: list(cells.matching(rows, split=number)) for number in dict.fromkeys(row["split"] for row in rows)
    }
    complete = set.intersection(*({row["mixture"] for row in own} for own in by_split.values()))
    best = max(complete, key=lambda name: _mean(rows, name, "WT"))
    body = []
    for name in dict.fromkeys(row["mixture"] for row in rows):
        each = (cells.cell(_mean(own, name, "WT")) for own in by_split.values())
        means = (cells.cell(_mean(rows, name, region) if name in complete else np.nan) for region in _REGIONS)
        p = cells.p_text(_differences(rows, best, name, "WT")) if name in complete and name != best else "–"
        body.append((_described(name), *each, *means, p))
    patients = len({row["case"] for row in rows})
    header = (
        "trained on",
        *(f"WT, split {number}" for number in range(1, len(by_split) + 1)),
        *(f"{region}, {patients} patients" for region in _REGIONS),
        "p of WT, against the best",
    )
    return cells.table(header, body)


def comparisons() -> str:
    """Mixtures of the splits against each other: differences of patients' Dice, means over modalities and seeds."""
    rows = _of_splits()

    def cell(first: str, second: str, region: str) -> str:
        differences = np.array(_differences(rows, first, second, region))
        better = f"{np.sum(differences > 0)} of {len(differences)}"
        return f"{100 * differences.mean():+.1f} ({better}, {cells.p_text(differences)})"

    return cells.table(
        ("points of Dice (patients better, p)", *_REGIONS),
        [
            (f"{_described(first)}, against {_described(second)}", *(cell(first, second, r) for r in _REGIONS))
            for first, second in _COMPARED
        ],
    )


def segmenters() -> str:
    """Segmenters of the segmentation stage on test patients, by modality."""
    rows = _records("segmentation.csv", metric="dice")
    body = [
        (
            "all together" if name == "all" else name.upper().replace("T1C", "T1c"),
            *(
                f"{np.nanmean(cells.values(r for r in rows if r['modality'] == name and r['region'] == region)):.2f}"
                for region in _REGIONS
            ),
        )
        for name in (*_MODALITIES, "all")
    ]
    return cells.table(("modality", *_REGIONS), body)


def translation() -> str:
    """Means over the twelve pairs and the test patients of all splits."""
    rows = _records("translation_splits.csv")

    [steps] = {row["steps"] for row in cells.matching(rows, translator="paired")}

    def pair(translator: str) -> tuple[str, str]:
        return f"{_translated(rows, translator, 'psnr'):.1f}", f"{_translated(rows, translator, 'dice'):.2f}"

    return cells.table(
        (
            "slices of the wanted modality",
            "PSNR in the head, dB",
            f"WT Dice by {_judge_of(rows)}",
            "pairs furthest below the U-Nets, dB",
        ),
        [
            ("real", "–", f"{_translated(rows, 'real', 'dice'):.2f}", "–"),
            ("translated by a synthesis stage of unregistered slices", *pair("gan"), _furthest(rows)),
            (f"translated by U-Nets trained on registered pairs, {steps} steps", *pair("paired"), "–"),
            ("the given slice, as it is", *pair("copy"), "–"),
        ],
    )


def translation_splits() -> str:
    """The same split by split."""
    rows = _records("translation_splits.csv")
    splits = {
        f"split {seed}": list(cells.matching(rows, split=seed)) for seed in dict.fromkeys(row["split"] for row in rows)
    }
    columns = {**splits, "12 patients": rows}

    def all_three(rows: Sequence[Row], metric: str, digits: int) -> str:
        return " / ".join(f"{_translated(rows, name, metric):.{digits}f}" for name in ("gan", "paired", "copy"))

    def kept(rows: Sequence[Row]) -> str:
        made, real = (_translated(rows, name, "dice") for name in ("gan", "real"))
        return f"{made:.3f} of {real:.3f} ({made / real:.3f})"

    measures: dict[str, Callable[[Sequence[Row]], str]] = {
        "WT Dice on translated slices, of real ones": kept,
        "on the U-Nets' slices": lambda rows: f"{_translated(rows, 'paired', 'dice'):.3f}",
        "PSNR in the head, dB: translated / U-Nets / source": lambda rows: all_three(rows, "psnr", 2),
        "SSIM: translated / U-Nets / source": lambda rows: all_three(rows, "ssim", 3),
        "pair furthest below the U-Nets, dB": lambda rows: _furthest(rows, 1),
    }
    return cells.table(
        ("", *columns), [(name, *(measure(rows) for rows in columns.values())) for name, measure in measures.items()]
    )


def lesion_threshold() -> str:
    """Invented, false and missed volume, ml, by the least probability of a lesion; in brackets the most invented."""
    rows = list(csv.DictReader((_STUDY.parent / "lesion_threshold.csv").read_text(encoding="utf-8").splitlines()))
    given = {name: list(cells.matching(rows, given=name)) for name in ("t1", "flair", "t1+flair")}
    given["three"] = [row for row in rows if row["given"].count("+") == 2]
    given["any with flair"] = [row for row in rows if "flair" in row["given"]]
    given["any without"] = [row for row in rows if "flair" not in row["given"]]

    def cell(own: Sequence[Row], least: str) -> str:
        volumes = [
            [float(row[name]) for row in cells.matching(own, threshold=least)]
            for name in ("invented_ml", "false_ml", "missed_ml")
        ]
        return f"{' / '.join(f'{np.mean(values):.1f}' for values in volumes)} ({max(volumes[0]):.1f})"

    thresholds = dict.fromkeys(row["threshold"] for row in rows)
    return cells.table(
        ("least probability", *given), [(t, *(cell(own, t) for own in given.values())) for t in thresholds]
    )


def _translated(rows: Sequence[Row], translator: str, metric: str, **wanted: str) -> float:
    """Mean of a metric from single modalities; Dice is that of the whole tumour."""
    rows = [row for row in rows if "+" not in row["source"]]
    wanted |= {"region": "WT" if metric == "dice" else "head"}
    return float(np.nanmean(cells.values(cells.matching(rows, translator=translator, metric=metric, **wanted))))


def _furthest(rows: Sequence[Row], count: int = 2) -> str:
    """The pairs whose translations are furthest below those of the U-Nets, in PSNR."""

    def below(source: str, target: str) -> float:
        paired, made = (_translated(rows, t, "psnr", source=source, modality=target) for t in ("paired", "gan"))
        return paired - made

    pairs = sorted(itertools.permutations(_MODALITIES, 2), key=lambda pair: -below(*pair))
    return ", ".join(f"{below(*pair):.2f} ({' to '.join(pair)})" for pair in pairs[:count])


TABLES: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        joint_table.joint,
        quality,
        usability,
        splits,
        comparisons,
        segmenters,
        translation,
        translation_splits,
        lesion_threshold,
    )
}


def _described(mixture: str) -> str:
    """`real_1_synthetic_0.5_real_first` as "real 1 + synthetic 0.5"."""
    parts = re.findall(rf"({'|'.join(_WORDS)})_([\d.]+)", mixture)
    return " + ".join(f"{_WORDS[kind]} {number}" for kind, number in parts)


def _of_splits() -> list[Row]:
    """Usability in all splits, rows of lesions in real slices by names of their own."""
    rows = _dice("usability_splits.csv")
    for word, file in _REAL_ANATOMY.items():
        if (_STUDY / file).is_file():
            rows += [{**row, "mixture": row["mixture"].replace("synthetic", word)} for row in _dice(file)]
    return rows


def _dice(file: str) -> list[Row]:
    return [row for row in _records(file, metric="dice") if row["modality"] in _MODALITIES]


def _mean(rows: Sequence[Row], mixture: str, region: str) -> float:
    """Over patients; NaN without rows of that mixture."""
    values = list(_by_patient(rows, mixture, region).values())
    return float(np.mean(values)) if values else np.nan


def _by_patient(rows: Sequence[Row], mixture: str, region: str) -> dict[str, float]:
    """Each case's mean over modalities and seeds; every case is a patient of its own here."""
    own = list(cells.matching(rows, mixture=mixture, region=region))
    cases = dict.fromkeys(row["case"] for row in own)
    return {case: float(np.nanmean(cells.values(cells.matching(own, case=case)))) for case in cases}


def _differences(rows: Sequence[Row], first: str, second: str, region: str) -> list[float]:
    """Of the patients' Dice after one mixture and another."""
    a, b = (_by_patient(rows, name, region) for name in (first, second))
    return [a[case] - b[case] for case in a]


def _records(file: str, **wanted: str) -> list[Row]:
    with open(_STUDY / file, encoding="utf-8", newline="") as opened:
        return list(cells.matching(csv.DictReader(opened), **wanted))


def _markdown(file: str) -> list[Row]:
    """The rows of a Markdown table."""
    lines = (_STUDY / file).read_text(encoding="utf-8").splitlines()
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    header, _, *body = split
    return [dict(zip(header, row, strict=True)) for row in body]


def _judged(rows: Sequence[Row]) -> list[Row]:
    """The rows of judges; all rows of records that are older than judges."""
    return [row for row in rows if row.get("judge", "").startswith("judge")] or list(rows)


def _judge_of(rows: Sequence[Row]) -> str:
    """Which segmenters found the lesions; in records that are older than judges the segmentation stage's."""
    judges = dict.fromkeys(row.get("judge") or "the stage's segmenters" for row in rows)
    return ", ".join(judges)


def _frechet_features(fidelity: Sequence[Row]) -> str:
    """What the features are of, from "frechet distance (segmenter)"."""
    measures = dict.fromkeys(row["measure"] for row in fidelity if row["measure"].startswith("frechet"))
    features = ", ".join(re.findall(r"distance \((.*)\)", " ".join(measures)))
    return "features of the stage's segmenters" if features == "segmenter" else features


if __name__ == "__main__":
    for path in DOCUMENTS:
        path.write_text(render(path.read_text(encoding="utf-8")), encoding="utf-8")
