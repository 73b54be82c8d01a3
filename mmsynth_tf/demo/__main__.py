"""The whole pipeline on simulated patients, ending with a report (``make demo``).

Phantom cases -> prepared data -> all stages -> synthetic data set ->
segmenters trained on real, synthetic and both -> scores on phantom test
patients -> one HTML page. Each step is a documented command, and is
printed before it runs. Finished steps are not repeated.
"""

import pathlib

from absl import flags

from mmsynth_tf import constants, program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.demo.steps import SYNTHETIC, Steps, run

_WORKDIR = path_flags.define_path("workdir", "demo_output", "Folder for all outputs.")
_PRESET = flags.DEFINE_string("preset", "demo", "Preset of all steps.")
_NUM_CASES = flags.DEFINE_integer("num_cases", 14, "Number of phantom patients.")
_COUNT = flags.DEFINE_integer("count", 250, "Number of synthetic slices.")

# Training sets of the segmenters: name to data sets.
MIXTURES = {"real": ("real",), "synthetic": ("synthetic",), "both": ("real", "synthetic")}


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    folder, steps = pathlib.Path(_WORKDIR.value), Steps(_PRESET.value)
    real, models = steps.real_and_models(folder, _NUM_CASES.value)
    steps.synthetic(folder / SYNTHETIC, models, real, count=_COUNT.value)
    for name, parts in MIXTURES.items():
        workdir = models if name == "real" else folder / f"trained_on_{name}"
        if name != "real":
            steps.train(constants.JOINT, workdir, *(folder / part for part in parts))
        run("evaluate.py", experiment="segmentation", workdir=workdir, test_data=real)

    from mmsynth_tf.demo import report

    page = report.write(folder, MIXTURES)
    print(f"Done. Open {page.resolve()}")


if __name__ == "__main__":
    program.run(main)
