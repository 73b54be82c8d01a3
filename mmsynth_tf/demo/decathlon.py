"""From the Medical Segmentation Decathlon's brain tumours to models that may be published (``make decathlon``).

    python -m mmsynth_tf.demo.decathlon --data=Task01_BrainTumour/ --preset=default --workdir=decathlon_output

Cases -> prepared data -> all stages -> scores on test patients -> SavedModel
with card, licence and checksums, in <workdir>/models. Each step is a documented
command, and is printed before it runs. Run the same command again to continue:
finished steps are not repeated, and a training goes on from its newest
checkpoint. All settings of `train.py` can be changed here as well.
"""

import pathlib

from absl import flags

from mmsynth_tf import program
from mmsynth_tf.configs import flags as configs_flags
from mmsynth_tf.configs import path_flags
from mmsynth_tf.demo import steps

_DATA = path_flags.define_path(
    "data", None, "Task01_BrainTumour, with imagesTr, labelsTr and dataset.json.", required=True
)
_WORKDIR = path_flags.define_path("workdir", "decathlon_output", "Folder for all outputs.")
configs_flags.define_config_flags()
flags.declare_key_flag("preset")

# Prepared data, work directory and exported models in the folder of outputs.
PREPARED, RUN, MODELS = "data", "run", "models"


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # Before anything runs, so that a wrong setting is refused here.
    configs_flags.config_from_flags()
    from mmsynth_tf.reading import decathlon

    source, folder = pathlib.Path(_DATA.value), pathlib.Path(_WORKDIR.value)
    print(f"{source}: {decathlon.require_whole(source)} labelled cases")
    data, run, models = (folder / name for name in (PREPARED, RUN, MODELS))
    settings = configs_flags.given()
    if not data.exists():
        steps.run("datasets/build.py", source="cases", input=source, release="decathlon", output=data, **settings)
    steps.run("train.py", stage="all", data_dir=data, workdir=run, **settings)
    steps.run("evaluate.py", experiment="segmentation", workdir=run, test_data=data)

    from mmsynth_tf.export import saved_models

    if not saved_models.is_export_of(run, models):
        steps.run("-m", "mmsynth_tf.export", workdir=run, output=models, overwrite=True)
    print(f"Done: {models.resolve()}. Check the files with: (cd {models} && sha256sum --check SHA256SUMS)")


if __name__ == "__main__":
    program.run(main)
