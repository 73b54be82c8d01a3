"""Jobs of `mmsynth` on synthetic patients and synthetic sets, and their flags."""

import sys
from pathlib import Path

from absl import flags

from mmsynth_tf import constants
from mmsynth_tf.cli import shared_flags
from mmsynth_tf.configs import path_flags

_FLAGS = flags.FLAGS


def sample() -> None:
    """Generates patients from noise: volumes of all modalities, with the lesion's label.

    mmsynth sample --models=models/a --count=10 --output=samples/
    mmsynth sample --models=models/a --count=10 --output=samples/ --label=labels/ --layout=nnunet

    Each patient has one latent code, whose slices run from the lowest of a head
    to the highest, as far as the structure stage was trained on them. Without
    --label, lesions are simulated. Run the same command again to continue a job
    that was stopped.
    """
    from mmsynth_tf.patients import lesions, sample, sample_layouts

    sampler = sample.Sampler(
        shared_flags.load_models(),
        labels=lesions.find(Path(_FLAGS.label), _FLAGS.label_release) if _FLAGS.label else (),
        seed=_FLAGS.seed,
        correlation=_FLAGS.correlation,
        smooth=_FLAGS.smooth,
        blur=_FLAGS.blur,
    )
    sample_layouts.write(
        sampler,
        _FLAGS.count,
        Path(_FLAGS.output),
        layout=_FLAGS.layout,
        largest=_FLAGS.largest,
        overwrite=_FLAGS.overwrite,
    )
    print(f"{_FLAGS.count} cases in {_FLAGS.output}. {constants.DISCLAIMER}")


def define_sample() -> None:
    shared_flags.define_models()
    shared_flags.define_output("Output folder.")
    flags.DEFINE_integer("count", 1, "Number of cases.", lower_bound=1)
    flags.DEFINE_enum("layout", "brats", ["brats", "nnunet"], "File names of BraTS 2018, or nnU-Net's raw layout.")
    flags.DEFINE_float(
        "correlation", 12.0, "Slices over which codes change if models know no position.", lower_bound=0.0
    )
    shared_flags.define_label(required=False)
    shared_flags.define_images(constants.SYNTHESISED_BLUR)


def nnunet() -> None:
    """Writes prepared data sets in nnU-Net's raw layout: a case a slice, folds by patient.

    mmsynth nnunet --data=data/brats --synthetic_data=data/synthetic --output=nnUNet_raw/Dataset501_Mixed

    Validation folds hold real patients alone. Without --synthetic_data and a
    validation split, the training patients make five folds. Copy
    splits_final.json to nnUNet_preprocessed/<data set> after planning.
    """
    from mmsynth_tf import prepared
    from mmsynth_tf.patients import nnunet

    real = prepared.open_prepared(_FLAGS.data)
    synthetic = [prepared.open_prepared(path) for path in _FLAGS.synthetic_data]
    for data in synthetic:
        prepared.require_same_geometry(data, real.config, str(real.path))
    counts = nnunet.write_prepared(real, synthetic, Path(_FLAGS.output), overwrite=_FLAGS.overwrite)
    print(f"{_FLAGS.output}: {', '.join(f'{count} {kind}' for kind, count in counts.items())} slices.")


def define_nnunet() -> None:
    path_flags.define_path("data", None, "Prepared data set of real patients.", required=True)
    path_flags.define_paths("synthetic_data", [], "Prepared synthetic data sets, for training.")
    shared_flags.define_output("Folder to write, named like Dataset501_Mixed.")


def remake() -> None:
    """Generates samples of a synthetic set again from their records, and compares them bit by bit.

    mmsynth remake --data=data/synthetic --sample=synthetic_000000012 --workdir=runs/a --labels_from=data/brats

    The exit status is 1 if a sample differs. Other weights or labels than those
    of the record are refused.
    """
    from mmsynth_tf import prepared
    from mmsynth_tf.generation import remaking, sampling
    from mmsynth_tf.patients import jobs

    sampling.make_repeatable()
    remaker = remaking.Remaker(prepared.open_prepared(_FLAGS.data), _FLAGS.workdir, _FLAGS.labels_from)
    identical = True
    for case_id in jobs.progress(_FLAGS.sample, len(_FLAGS.sample), "sample"):
        remade = remaker.remake(case_id)
        identical &= not remade.differences
        print(remade.summary())
        if _FLAGS.output and remade.example:
            print(f"  {remaker.save(remade, Path(_FLAGS.output))}")
    if not identical:
        if remaker.changes:
            print(
                "Hardware and software can change the last bits. Changed since the build: "
                f"{'; '.join(remaker.changes)}."
            )
        sys.exit(1)


def define_remake() -> None:
    path_flags.define_path("data", None, "Prepared synthetic data set.", required=True)
    flags.DEFINE_list("sample", None, "Case ids of the samples.", required=True)
    path_flags.define_path(
        "workdir", None, "Work directory of the stages that made it; none for pasted and painted sets."
    )
    path_flags.define_path(
        "labels_from", None, "Prepared data set that was the --labels_from of the build.", required=True
    )
    path_flags.define_path("output", None, "Folder for the samples: <case>.npz and <case>.png.")


def card() -> None:
    """Writes the data card of a synthetic set again, with the experiments measured since it was built.

    mmsynth card --data=data/synthetic --workdir=runs/a

    Measurements of other sets, or older than this one, are left out.
    """
    from mmsynth_tf.generation import data_card

    workdir = Path(_FLAGS.workdir) if _FLAGS.workdir else None
    print(f"Data card: {data_card.write(Path(_FLAGS.data), workdir)}")


def define_card() -> None:
    path_flags.define_path("data", None, "Prepared synthetic data set.", required=True)
    path_flags.define_path("workdir", None, "Work directory that holds evaluation/ with the measurements.")
