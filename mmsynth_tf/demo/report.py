"""The report page of the demonstration."""

import pathlib
from collections.abc import Iterable

from mmsynth_tf import __version__, constants, prepared
from mmsynth_tf.experiments import scoring
from mmsynth_tf.reports import example_sections, plots, report
from mmsynth_tf.storage import atomic, records
from mmsynth_tf.training import run_folder
from mmsynth_tf.training.callbacks import LOSSES_FILE

_MAPS, _SAMPLES = 24, 8
# Loss terms to plot, by stage and panel.
_CURVES = {
    constants.STRUCTURE: {
        "reconstruction": ("reconstruction",),
        "map adversaries": ("map_adversarial", "map_discriminator"),
        "mask": ("mask",),
    },
    constants.SEGMENTATION: {"Dice loss, sum over modalities": ("dice",), "cross-entropy": ("cross_entropy",)},
    constants.JOINT: {"Dice loss of the joint segmenter": ("dice",), "cross-entropy": ("cross_entropy",)},
    constants.SYNTHESIS: {
        "reconstruction and cycle": ("reconstruction", "cycle", "self_reconstruction"),
        "adversaries": ("adversarial", "discriminator_real", "discriminator_synthetic"),
        "adversaries of all modalities": ("joint_adversarial", "joint_discriminator_real"),
        "modality class": ("adversarial_class", "discriminator_class"),
        "lesion": ("lesion",),
        "structure": ("structure",),
        "translation": ("translation",),
        "translation of registered slices": ("paired_translation",),
    },
}


def write(folder: pathlib.Path, mixtures: Iterable[str]) -> pathlib.Path:
    """Writes the page.

    Args:
      folder: the demonstration's folder.
      mixtures: names of the training sets of the segmenters.

    Returns:
      Path of the HTML file.
    """
    real, synthetic = (prepared.open_prepared(folder / name) for name in ("real", "synthetic"))
    models = folder / "models"
    path = folder / "report.html"
    samples = example_sections.quadruples(example_sections.first_examples(synthetic, "train", _SAMPLES), synthetic)
    with atomic.atomic_path(folder / "samples.png") as picture:
        picture.write_bytes(samples)
    sections = [
        _maps_section(synthetic),
        _samples_section(samples, real),
        example_sections.filter_section({synthetic.path.name: synthetic.record}),
        _dice_section(folder, mixtures),
        _curves_section(models),
        report.Section("Settings", folded={"config.json": _config_text(models)}),
    ]
    subtitle = f"mmsynth_tf {__version__}, phantom patients: real MNI anatomy, simulated contrasts and lesions"
    report.write_report(path, "Synthetic registered MRI with lesion labels", sections, subtitle)
    return path


def _maps_section(synthetic: prepared.PreparedData) -> report.Section:
    maps = example_sections.structure_maps(example_sections.first_examples(synthetic, "train", _MAPS))
    return report.Section(
        "Structure maps from noise",
        "Each map is decoded from a random code; the mask generator derives the background (tinted) from it. "
        "The figure shows the maps of the first samples that passed all filters.",
        figures=[report.Figure(maps, "Generated structure maps and masks.")],
    )


def _samples_section(samples: bytes, real: prepared.PreparedData) -> report.Section:
    slices = example_sections.quadruples(example_sections.lesion_slices(real, "test", _SAMPLES), real)
    return report.Section(
        "All modalities from one map and one label",
        "Each row is one sample: its map, its background mask, the input label, and the generated modalities. "
        "Below are slices of test patients, which no stage has seen.",
        figures=[
            report.Figure(samples, "The first synthetic samples that passed all filters."),
            report.Figure(slices, "Real (phantom) slices of test patients."),
        ],
    )


def _dice_section(folder: pathlib.Path, mixtures: Iterable[str]) -> report.Section:
    rows = []
    for name in mixtures:
        workdir = folder / ("models" if name == "real" else f"trained_on_{name}")
        found = records.read_json(workdir / "evaluation" / "segmentation" / "records.json")
        rows += [{**row, "trained on": name} for row in found if row["design"] == constants.JOINT]
    caption = "Dice per test patient: mean ± standard deviation over patients."
    table = scoring.summary_table(rows, ("trained on",), "dice", caption)
    return report.Section(
        "Segmenters trained on the data",
        "The joint segmenter with the same number of training steps, trained on real slices, on synthetic slices, or "
        "on both, and tested on the same real (phantom) test patients.",
        tables=[table],
    )


def _curves_section(models: pathlib.Path) -> report.Section:
    pictures = []
    for stage, panels in _CURVES.items():
        curves = records.read_columns(models / stage / LOSSES_FILE)
        # The terms in the log depend on the settings.
        drawn = {title: names for title, names in panels.items() if set(names) <= set(curves)}
        pictures.append(report.Figure(plots.training_curves(curves, panels=drawn), f"Losses of the {stage} stage."))
    text = "During pretraining the synthesis stage omits terms; the curves show them as 0."
    return report.Section("Training", text, figures=pictures)


def _config_text(models: pathlib.Path) -> str:
    return (models / constants.SYNTHESIS / run_folder.CONFIG_FILE).read_text(encoding="utf-8")
