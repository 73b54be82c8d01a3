"""Judges: independent segmenters for evaluation only.

The segmenters of the work directory would be biased: generators are trained with them, or the lesion filter uses them.
A judge is trained on the same slices with another seed and, for the paper's segmenters, another design.
"""

import functools
import pathlib

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.reading import splits
from mmsynth_tf.stages import catalogue
from mmsynth_tf.stages.joint.joint_segmenter import JointSegmenter
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.training import run_folder, runs

JUDGE, STAGE = "judge", "stage"  # Prefixes of segmenter names in tables.
CAPTION = (
    "Judge: segmenters with another seed (and, unless they are joint, another design), trained on the same real "
    "slices; no generator and no filter uses them. Stage: the work directory's own segmenters. Those of the modalities "
    "train the generators; the joint one, if there is one, is the lesion filter."
)

# Offset to the seed of the stage.
_SEED = 1_000
_DESIGNS = (constants.SHARED_ENCODER, constants.SEGMENTER_PER_MODALITY, constants.ONE_SEGMENTER)


class Judge:
    """A judge of a work directory; trained on first use and stored.

    Args:
      request: gives the work directory and the training slices.
      number: judges with different numbers have different seeds.
      stage: whose segmenters the judge is like: `constants.SEGMENTATION` or `JOINT`.

    Attributes:
      name: for records and tables.
      key: hash of the settings and the training slices.

    Raises:
      UserError: there are no training patients.
      WorkDirError: the work directory has no segmenters; the judge copies their size and training steps.
    """

    def __init__(self, request: Request, number: int = 0, stage: str = constants.SEGMENTATION):
        self._data, self._stage = request.training, stage
        self._config = _config(request.workdir, number, stage)
        self.name = described(JUDGE, self._config, stage)
        learned_by = catalogue.STAGES[stage].depends_on
        fields = tree.fields(self._config).items()
        leaves = {path: value for path, (value, _) in fields if path.startswith(learned_by)}
        trained_on = Request(request.workdir, self._data, split=splits.TRAIN)
        self._folder = Study("judges", trained_on, (), config=leaves).parts
        self.key = self._folder.name

    @functools.cached_property
    def segmenter(self) -> Segmenter | JointSegmenter:
        """The trained segmenter; training resumes from the newest checkpoint if there is one."""
        runs.train(self._stage, self._config, [self._data], self._folder)
        return runs.load(self._stage, self._folder)[0]


def described(name: str, config: configs.Config, stage: str) -> str:
    """Name of a stage's segmenters for tables, with their configuration."""
    design = stage if stage == constants.JOINT else config.segmentation.design
    steps = catalogue.STAGES[stage].settings(config).steps
    return f"{name} ({design}, seed {config.runtime.seed}, {steps} steps)"


def _config(workdir: pathlib.Path, number: int, stage: str) -> configs.Config:
    """The settings of the stage with another seed, and for the paper's segmenters a design that no stage uses."""
    config = run_folder.read_config(workdir / stage)
    if stage == constants.JOINT:
        return tree.override(config, {"runtime.seed": config.runtime.seed + _SEED + number})
    synthesis = config
    if run_folder.has_run(constants.SYNTHESIS, workdir):
        synthesis = run_folder.read_config(workdir / constants.SYNTHESIS)
    known = {config.segmentation.design, synthesis.segmentation.design}
    changes = {
        "runtime.seed": config.runtime.seed + _SEED + number,
        "segmentation.design": next(design for design in _DESIGNS if design not in known),
    }
    return tree.override(config, changes)
