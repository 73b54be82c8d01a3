"""Exports the trained stages of a work directory as one SavedModel with named signatures.

    python -m mmsynth_tf.export --workdir=runs/a --output=models/a

TensorFlow alone can load the folder: tf.saved_model.load("models/a").signatures.
Its metadata.json describes all inputs and outputs.
"""

from absl import flags, logging

from mmsynth_tf import program
from mmsynth_tf.configs import path_flags

_WORKDIR = path_flags.define_path("workdir", None, "Work directory with at least one trained stage.", required=True)
_OUTPUT = path_flags.define_path("output", None, "Folder for the exported models; must not exist yet.", required=True)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --output if it holds exported models.")


def main(argv: list[str]) -> None:
    program.refuse_arguments(argv)
    # TensorFlow takes seconds to import; --help and wrong flags should not wait for it.
    from mmsynth_tf.export import saved_models

    # Hide TensorFlow's messages on the temporary folder, which mean nothing to the user.
    logging.set_verbosity(logging.WARNING)
    metadata = saved_models.export(_WORKDIR.value, _OUTPUT.value, _OVERWRITE.value)
    print(f"Exported {', '.join(metadata['stages'])} to {_OUTPUT.value}")
    for name, signature in metadata["signatures"].items():
        print(f"  {name}({', '.join(signature['inputs'])}) -> {', '.join(signature['outputs'])}")


if __name__ == "__main__":
    program.run(main)
