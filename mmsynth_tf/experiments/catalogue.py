"""All experiments: each is a module with `run(request)` and an entry here. This module does not import TensorFlow.

A module may also have `report_figures(request, rows)`, which draws figures for the report from the records.
"""

import dataclasses
import importlib
from types import ModuleType


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Metadata of an experiment.

    Attributes:
      module: module name below `mmsynth_tf.experiments`.
      title: heading on the report page.
      text: one or two sentences below the heading.
      synthetic: whether it needs synthetic data sets; None if they are optional.
      on_card: whether the data card of a synthetic set shows its tables.
    """

    module: str
    title: str
    text: str
    synthetic: bool | None
    on_card: bool = False

    def load(self) -> ModuleType:
        """Imports the experiment's module, which takes seconds."""
        return importlib.import_module(f"mmsynth_tf.experiments.{self.module}")


# In the order of the report page.
EXPERIMENTS = {
    "segmentation_gain": Experiment(
        "segmentation_gain.segmentation_gain",
        "What training sets are worth",
        "One segmenter of all modalities under strong augmentation, trained on each set in each of five folds, so "
        "that every patient is tested once by a segmenter that never saw it.",
        synthetic=None,
    ),
    "curve": Experiment(
        "segmentation_gain.curve",
        "How many patients training sets are worth",
        "The same segmenter, trained on 2, 4, 8 and all training patients and on slices that were made from these "
        "patients alone. The curve of real slices says how many further patients such slices are worth.",
        synthetic=None,
    ),
    "segmentation": Experiment(
        "segmentation",
        "Segmentation of real patients",
        "Segmenters, one a modality, trained on real slices and tested on patients that they have not seen.",
        synthetic=False,
    ),
    "lesion_check": Experiment(
        "lesion_check",
        "Lesion check (the paper's Table 1)",
        "Is the lesion of synthetic slices, which passed no lesion filter, where the label says? Judges were trained "
        "for this alone; the segmentation stage, which the generator was trained with, and real slices stand beside.",
        synthetic=True,
    ),
    "usability": Experiment(
        "usability.usability",
        "Usability (the paper's Table 2)",
        "Segmenters trained on mixtures of real, synthetic and augmented slices with the same number of steps, all "
        "tested on the same real patients. 1 is as many slices as the real training set has.",
        synthetic=True,
    ),
    "fidelity": Experiment(
        "fidelity.fidelity",
        "Fidelity",
        "How close synthetic slices are to real ones, beside real ones against real ones.",
        synthetic=True,
        on_card=True,
    ),
    "memorisation": Experiment(
        "memorisation.memorisation",
        "Memorisation",
        "Distance of every synthetic slice to the nearest real training slice, beside the same for real slices of "
        "other patients. Images are aligned first, so that moved copies are found.",
        synthetic=True,
        on_card=True,
    ),
    "translation": Experiment(
        "translation.translation",
        "Translation",
        "One modality of a test patient to another, by the synthesis stage, which never saw registered modalities, and "
        "by U-Nets that were trained on registered pairs.",
        synthetic=False,
    ),
}
# The report runs like an experiment, after all others.
REPORT = "report"
RUNNABLE = {
    **EXPERIMENTS,
    REPORT: Experiment("report.report", "Report", "One page on all that was measured in a work directory.", None),
}
