"""All experiments: each is a module with `run(request)` and an entry here. This module does not import TensorFlow.

A module may also have `report_figures(request, rows)`, which draws figures for the report from the records.
"""

import dataclasses
import importlib
from types import ModuleType

from mmsynth_tf import constants


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Metadata of an experiment.

    Attributes:
      module: module name below `mmsynth_tf.experiments`.
      title: heading on the report page.
      text: one or two sentences below the heading.
      synthetic: whether it needs synthetic data sets; None if they are optional.
      on_card: whether the data card of a synthetic set shows its tables.
      only: the protocol (which segmenters are trained, see `study.Request`) that it follows; None if either, or none.
      instead: the experiment that answers the question under the other protocol.
    """

    module: str
    title: str
    text: str
    synthetic: bool | None
    on_card: bool = False
    only: str | None = None
    instead: str | None = None

    def load(self) -> ModuleType:
        """Imports the experiment's module, which takes seconds."""
        return importlib.import_module(f"mmsynth_tf.experiments.{self.module}")


# In the order of the report page.
EXPERIMENTS = {
    "segmentation_gain": Experiment(
        "segmentation_gain.segmentation_gain",
        "Gain of segmenters by training set",
        "The joint segmenter under strong augmentation, trained on each set. In five folds, every patient is tested "
        "once, by a segmenter that never saw the patient.",
        synthetic=None,
        only=constants.JOINT,
        instead="usability",
    ),
    "curve": Experiment(
        "segmentation_gain.curve",
        "Gain of segmenters by number of patients",
        "The same segmenter, trained on 2, 4, 8 and all training patients, and on slices synthesised from only these "
        "patients. The curve of real slices tells how many further patients would give the same Dice.",
        synthetic=None,
        only=constants.JOINT,
        instead="usability",
    ),
    "segmentation": Experiment(
        "segmentation",
        "Segmentation of real patients",
        "The joint segmenter, and one segmenter per modality, trained on real slices and tested on unseen patients.",
        synthetic=False,
    ),
    "lesion_check": Experiment(
        "lesion_check",
        "Lesion check (the paper's Table 1)",
        "Does the lesion of unfiltered synthetic slices lie where the label says? Judges are segmenters trained only "
        "for this check. The segmentation stage, which the generator was trained with, and real slices are references.",
        synthetic=True,
    ),
    "usability": Experiment(
        "usability.usability",
        "Usability (the paper's Table 2)",
        "Segmenters trained on mixtures of real, synthetic and augmented slices with the same number of steps, all "
        "tested on the same real patients. 1 is the number of slices in the real training set.",
        synthetic=True,
        only=constants.PAPER,
        instead="segmentation_gain",
    ),
    "fidelity": Experiment(
        "fidelity.fidelity",
        "Fidelity",
        "Similarity of synthetic and real slices; the reference is the similarity of real slices to each other.",
        synthetic=True,
        on_card=True,
    ),
    "heads": Experiment(
        "heads.heads",
        "Heads from feet to crown",
        "Stacks of structure maps that are made from one code along the positions of a head, beside the stacks of "
        "unseen patients: head area, the position that the maps show, and agreement of neighbours.",
        synthetic=False,
    ),
    "memorisation": Experiment(
        "memorisation.memorisation",
        "Memorisation",
        "Distance of every synthetic slice to the nearest real training slice; the reference is the same "
        "distance of real slices to other patients. Images are aligned first, so that moved copies are found.",
        synthetic=True,
        on_card=True,
    ),
    "translation": Experiment(
        "translation.translation",
        "Translation",
        "Translation of modalities of a test patient to another: by the synthesis stage, and from single ones by "
        "U-Nets trained on registered pairs.",
        synthetic=False,
    ),
}
# The report runs like an experiment, after all others.
REPORT = "report"
RUNNABLE = {
    **EXPERIMENTS,
    REPORT: Experiment("report.report", "Report", "One page with all measurements of a work directory.", None),
}
