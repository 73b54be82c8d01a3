"""Judges: independent segmenters for evaluation only.

The segmentation stage would be biased: generators are trained with its segmenters, and the lesion filter uses them.
A judge is trained on the same slices with another seed and another design.
"""

import functools
import pathlib

from mmsynth_tf import configs, constants
from mmsynth_tf.configs import tree
from mmsynth_tf.experiments.study import Request, Study
from mmsynth_tf.reading import splits
from mmsynth_tf.stages import catalogue
from mmsynth_tf.stages.segmentation.segmenter import Segmenter
from mmsynth_tf.training import run_folder, runs

JUDGE, STAGE = "judge", "segmentation stage"  # Prefixes of segmenter names in tables.
CAPTION = (
    "Judge: segmenters with another seed and design, trained on the same real slices; no generator and no filter uses "
    "them. Segmentation stage: its segmenters train the generators and form the lesion filter."
)

# Offset to the seed of the segmentation stage.
_SEED = 1_000
_DESIGNS = (constants.SHARED_ENCODER, constants.SEGMENTER_PER_MODALITY, constants.ONE_SEGMENTER)


class Judge:
    """A judge of a work directory; trained on first use and stored.

    Args:
      request: gives the work directory and the training slices.
      number: judges with different numbers have different seeds.

    Attributes:
      name: for records and tables.
      key: hash of the settings and the training slices.

    Raises:
      UserError: there are no training patients.
      WorkDirError: the work directory has no segmenters; the judge copies their size and training steps.
    """

    def __init__(self, request: Request, number: int = 0):
        self._data = request.training
        self._config = _config(request.workdir, number)
        self.name = described(JUDGE, self._config)
        learned_by = catalogue.STAGES[constants.SEGMENTATION].depends_on
        fields = tree.fields(self._config).items()
        leaves = {path: value for path, (value, _) in fields if path.startswith(learned_by)}
        trained_on = Request(request.workdir, self._data, split=splits.TRAIN)
        self._folder = Study("judges", trained_on, (), config=leaves).parts
        self.key = self._folder.name

    @functools.cached_property
    def segmenter(self) -> Segmenter:
        """The trained segmenter; training resumes from the newest checkpoint if there is one."""
        runs.train(constants.SEGMENTATION, self._config, [self._data], self._folder)
        return runs.load(constants.SEGMENTATION, self._folder)[0]


def described(name: str, config: configs.Config) -> str:
    """Name of segmenters for tables, with their configuration."""
    settings = config.segmentation
    return f"{name} ({settings.design}, seed {config.runtime.seed}, {settings.steps} steps)"


def _config(workdir: pathlib.Path, number: int) -> configs.Config:
    """The settings of the segmentation stage with another seed, and a design that no stage uses."""
    config = run_folder.read_config(workdir / constants.SEGMENTATION)
    synthesis = config
    if (workdir / constants.SYNTHESIS / run_folder.CONFIG_FILE).is_file():
        synthesis = run_folder.read_config(workdir / constants.SYNTHESIS)
    known = {config.segmentation.design, synthesis.segmentation.design}
    changes = {
        "runtime.seed": config.runtime.seed + _SEED + number,
        "segmentation.design": next(design for design in _DESIGNS if design not in known),
    }
    return tree.override(config, changes)
