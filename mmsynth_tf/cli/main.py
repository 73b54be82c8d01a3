"""The console script `mmsynth`: jobs on patients' files and on synthetic sets.

`mmsynth <job> --help` says what a job takes.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from mmsynth_tf import constants
from mmsynth_tf import program as mmsynth_tf_program
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading import release_table
from mmsynth_tf.storage import atomic

_FLAGS = flags.FLAGS


def _translate() -> None:
    """Translates one modality of a patient to the others, as whole volumes on the input's grid.

    mmsynth translate --models=models/a --input=scans/ --output=out/
    mmsynth translate --models=models/a --input=scan.nii.gz --modality=t1 --output=out/

    --input is a folder with cases in any release's layout, or one file. The
    modalities that a case lacks are generated, and written to <output>/<case>/.
    """
    from mmsynth_tf.patients import translate

    models = _load_models()
    job = translate.Translate(
        models,
        source=_FLAGS.source or _FLAGS.modality,
        targets=_FLAGS.targets,
        smooth=_FLAGS.smooth,
        blur=_FLAGS.blur,
        largest=_FLAGS.largest,
    )
    _for_each_case(models, job)


def _insert() -> None:
    """Inserts a lesion into the images of patients, and generates the modalities that they lack, with the lesion.

    mmsynth insert --models=models/a --input=scans/ --label=labels/ --output=out/
    mmsynth insert --models=models/a --input=scans/case_1 --label=case_1_seg.nii.gz --output=out/
    mmsynth insert --models=models/a --input=scans/ --lesions_from=labelled/ --output=out/

    From a folder, --label draws a file at random; the lesion is then turned,
    scaled and moved to a place where it fits. A single file stays where its
    header says, unless --move_label is given. With --lesions_from, a real lesion
    of another patient is pasted in place of a generated one.
    """
    if bool(_FLAGS.label) == bool(_FLAGS.lesions_from):
        raise UserError("Give either --label, for a generated lesion, or --lesions_from, for a real one.")
    if _FLAGS.lesions_from:
        _paste()
        return
    from mmsynth_tf.patients import insert, lesions

    models = _load_models()
    path = Path(_FLAGS.label)
    job = insert.Insert(
        models,
        lesions.find(path, _FLAGS.label_release),
        move=path.is_dir() if _FLAGS.move_label is None else _FLAGS.move_label,
        source=_FLAGS.source or _FLAGS.modality,
        remove_lesion=_FLAGS.remove_lesion,
        redraw=_FLAGS.redraw,
        seed=_FLAGS.seed,
        smooth=_FLAGS.smooth,
        blur=_FLAGS.blur,
        largest=_FLAGS.largest,
        release=_FLAGS.label_values,
    )
    _for_each_case(models, job)


def _paste() -> None:
    given = [name for name in ("remove_lesion", "redraw", "source") if _FLAGS[name].value]
    if given:
        raise UserError(f"--lesions_from generates nothing and does not take --{given[0]}. Leave it out.")
    from mmsynth_tf.patients import paste
    from mmsynth_tf.reading import releases

    models = _load_models()
    job = paste.Paste(
        models.data,
        releases.find_cases(_FLAGS.lesions_from, models.data.modalities),
        move=_FLAGS.move_label is not False,
        seed=_FLAGS.seed,
        largest=_FLAGS.largest,
        release=_FLAGS.label_values,
    )
    _for_each_case(models, job)


def _segment() -> None:
    """Segments the lesions of patients: one label from each modality, and one from all together.

    mmsynth segment --models=models/a --input=scans/ --output=out/ --label_values=brats2017-2021
    """
    from mmsynth_tf.patients import segment

    models = _load_models()
    _for_each_case(models, segment.Segment(models, release=_FLAGS.label_values))


def _sample() -> None:
    """Generates patients from noise: volumes of all modalities, with the lesion's label.

    mmsynth sample --models=models/a --count=10 --output=samples/
    mmsynth sample --models=models/a --count=10 --output=samples/ --label=labels/ --layout=nnunet

    Neighbouring slices are alike, but the stack has no anatomy from feet to
    head. Without --label, lesions are simulated. Run the same command again to
    continue a job that was stopped.
    """
    from mmsynth_tf.patients import lesions, sample, sample_layouts

    sampler = sample.Sampler(
        _load_models(),
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


def _nnunet() -> None:
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


def _view() -> None:
    """Writes a page that shows cases slice by slice in any browser, without a server.

    mmsynth view --input=out/ --output=view.html
    """
    from mmsynth_tf.patients import viewer

    output = Path(_FLAGS.output)
    atomic.refuse_existing(output, _FLAGS.overwrite)
    viewer.write_page(_FLAGS.input, output)
    print(f"Open {output} in a browser.")


def _remake() -> None:
    """Generates samples of a synthetic set again from their records, and compares them bit by bit.

    mmsynth remake --data=data/synthetic --sample=synthetic_000000012 --workdir=runs/a --labels_from=data/brats

    The exit status is 1 if a sample differs. Other weights or labels than those
    of the record are refused.
    """
    from mmsynth_tf import prepared
    from mmsynth_tf.generation import remaking, sampling

    sampling.make_repeatable()
    remaker = remaking.Remaker(prepared.open_prepared(_FLAGS.data), _FLAGS.workdir, _FLAGS.labels_from)
    identical = True
    for case_id in _FLAGS.sample:
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


def _card() -> None:
    """Writes the data card of a synthetic set again, with the experiments measured since it was built.

    mmsynth card --data=data/synthetic --workdir=runs/a

    Measurements of other sets, or older than this one, are left out.
    """
    from mmsynth_tf.generation import data_card

    workdir = Path(_FLAGS.workdir) if _FLAGS.workdir else None
    print(f"Data card: {data_card.write(Path(_FLAGS.data), workdir)}")


def _load_models() -> Any:
    from mmsynth_tf.patients.slice_models import SliceModels

    return SliceModels.load(_FLAGS.models)


def _for_each_case(models: Any, job: Callable) -> None:
    from mmsynth_tf.patients import files, jobs

    cases = files.find(Path(_FLAGS.input), models.data.modalities, _FLAGS.modality, _FLAGS.release)
    jobs.for_each(cases, Path(_FLAGS.output), job, _FLAGS.overwrite, _FLAGS.resume)
    print(f"{len(cases)} cases in {_FLAGS.output}. {constants.DISCLAIMER}")


def _define_models() -> None:
    path_flags.define_path(
        "models", None, "Folder with exported models, from python -m mmsynth_tf.export.", required=True
    )


def _define_output(what: str) -> None:
    path_flags.define_path("output", None, what, required=True)
    flags.DEFINE_bool("overwrite", False, "Replace output that exists.")


def _define_cases() -> None:
    path_flags.define_path("input", None, "Folder with cases at any depth, or one image file.", required=True)
    flags.DEFINE_string("modality", None, "Modality of a single file whose name does not tell it.")
    flags.DEFINE_string("release", None, "Release of the cases; found from the file names if not given.")
    flags.DEFINE_bool("resume", False, "Skip cases that are in --output already.")
    _define_models()
    _define_output("Output folder, with a subfolder for each case.")


def _define_images(blur: float) -> None:
    flags.DEFINE_bool(
        "smooth", True, "Smooth the brightness across neighbouring slices, and with --blur also the detail."
    )
    flags.DEFINE_float(
        "blur", blur, "Sigma of the Gaussian across slices that --smooth uses, mm; 0 is none.", lower_bound=0.0
    )
    flags.DEFINE_integer(
        "largest",
        1,
        "Value of the brightest voxel. 1 writes float32 from 0 to 1; a larger value, such as 4095, writes int16.",
        lower_bound=1,
        upper_bound=32767,
    )


def _define_source() -> None:
    flags.DEFINE_string("source", None, "Modality to translate from; the first of each case if not given.")


def _define_label(required: bool) -> None:
    path_flags.define_path("label", None, "Label file, or folder with label files.", required=required)
    flags.DEFINE_string(
        "label_release", None, "Release that defines the values in --label; found from the file name if not given."
    )
    flags.DEFINE_integer("seed", 0, "Seed of all random choices.")


def _define_label_values() -> None:
    flags.DEFINE_enum(
        "label_values",
        "canonical",
        ["canonical", *release_table.with_lesion_values()],
        "Release that defines the values of written labels; canonical: the numbers of the models' classes.",
    )


def _define_translate() -> None:
    _define_cases()
    _define_source()
    flags.DEFINE_list("targets", [], "Modalities to generate; the missing modalities of each case if not given.")
    _define_images(constants.TRANSLATED_BLUR)


def _define_insert() -> None:
    _define_cases()
    _define_source()
    _define_label(required=False)
    path_flags.define_path(
        "lesions_from", None, "Folder with labelled cases, whose real lesions are pasted in place of generated ones."
    )
    flags.DEFINE_bool("move_label", None, "Move the lesion to a random place; the default except for a single --label.")
    flags.DEFINE_bool(
        "remove_lesion", False, "Erase the case's own lesion, found by its label or else by the models' segmentation."
    )
    flags.DEFINE_bool("redraw", False, "Generate the whole images, not only the lesion.")
    _define_label_values()
    _define_images(constants.SYNTHESISED_BLUR)


def _define_segment() -> None:
    _define_cases()
    _define_label_values()


def _define_sample() -> None:
    _define_models()
    _define_output("Output folder.")
    flags.DEFINE_integer("count", 1, "Number of cases.", lower_bound=1)
    flags.DEFINE_enum("layout", "brats", ["brats", "nnunet"], "File names of BraTS 2018, or nnU-Net's raw layout.")
    flags.DEFINE_float("correlation", 12.0, "Number of slices over which the anatomy changes.", lower_bound=0.0)
    _define_label(required=False)
    _define_images(constants.SYNTHESISED_BLUR)


def _define_nnunet() -> None:
    path_flags.define_path("data", None, "Prepared data set of real patients.", required=True)
    path_flags.define_paths("synthetic_data", [], "Prepared synthetic data sets, for training.")
    _define_output("Folder to write, named like Dataset501_Mixed.")


def _define_remake() -> None:
    path_flags.define_path("data", None, "Prepared synthetic data set.", required=True)
    flags.DEFINE_list("sample", None, "Case ids of the samples.", required=True)
    path_flags.define_path("workdir", None, "Work directory of the stages that generated it; none for pasted lesions.")
    path_flags.define_path(
        "labels_from", None, "Prepared data set that was the --labels_from of the build.", required=True
    )
    path_flags.define_path("output", None, "Folder for the samples: <case>.npz and <case>.png.")


def _define_card() -> None:
    path_flags.define_path("data", None, "Prepared synthetic data set.", required=True)
    path_flags.define_path("workdir", None, "Work directory that holds evaluation/ with the measurements.")


def _define_view() -> None:
    path_flags.define_path("input", None, "Folder with cases at any depth, or one image file.", required=True)
    _define_output("HTML file to write.")


# Job to what does it and what defines its flags.
_JOBS = {
    "translate": (_translate, _define_translate),
    "insert": (_insert, _define_insert),
    "sample": (_sample, _define_sample),
    "segment": (_segment, _define_segment),
    "nnunet": (_nnunet, _define_nnunet),
    "view": (_view, _define_view),
    "remake": (_remake, _define_remake),
    "card": (_card, _define_card),
}


def main() -> None:
    """Does the job that the first argument names."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in _JOBS:
        asked = name in ("--help", "-h", "help")
        print(_usage(name if not asked else ""), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 1)
    job, define_flags = _JOBS[name]
    others = set(_FLAGS)
    define_flags()
    # Absl takes the text of --help and the flags in it from the program's own module.
    program = f"{Path(sys.argv[0]).name} {name}"
    sys.argv[:2] = [program]
    sys.modules["__main__"].__doc__ = job.__doc__.replace("\n    ", "\n")
    for flag in set(_FLAGS) - others:
        _FLAGS.register_key_flag_for_module(program, _FLAGS[flag])

    def run(argv: list[str]) -> None:
        mmsynth_tf_program.refuse_arguments(argv)
        job()

    mmsynth_tf_program.run(run)


def _usage(unknown: str) -> str:
    lines = [f"There is no job {unknown!r}."] if unknown else []
    lines.append("Usage: mmsynth <job> --flag=value ...   (mmsynth <job> --help lists the flags)")
    lines += [f"  {name:10} {job.__doc__.splitlines()[0]}" for name, (job, _) in _JOBS.items()]
    return "\n".join([*lines, constants.DISCLAIMER])


if __name__ == "__main__":
    main()
