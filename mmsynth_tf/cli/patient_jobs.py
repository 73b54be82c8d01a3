"""Jobs of `mmsynth` on patients' files, and their flags."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from mmsynth_tf import constants
from mmsynth_tf.cli import shared_flags
from mmsynth_tf.configs import path_flags
from mmsynth_tf.errors import UserError
from mmsynth_tf.storage import atomic

_FLAGS = flags.FLAGS


def translate() -> None:
    """Translates the modalities that a patient has to the others, as whole volumes on the input's grid.

    mmsynth translate --models=models/a --input=scans/ --output=out/
    mmsynth translate --models=models/a --input=scan.nii.gz --modality=t1 --output=out/

    --input is a folder with cases in any release's layout, or one file. The
    modalities that a case lacks are generated from all that it has, and written
    to <output>/<case>/. A lesion is drawn where the case's label says; without a
    label, where the segmenter is sure. <case>_lesion_uncertainty.nii.gz is the
    probability at each voxel that this is wrong.
    """
    from mmsynth_tf.patients import translate

    models = shared_flags.load_models()
    job = translate.Translate(
        models,
        sources=_FLAGS.source,
        targets=_FLAGS.targets,
        smooth=_FLAGS.smooth,
        blur=_FLAGS.blur,
        largest=_FLAGS.largest,
    )
    _for_each_case(models, job)


def define_translate() -> None:
    shared_flags.define_cases()
    flags.DEFINE_list("source", [], "Modalities to translate from; all that a case has if not given.")
    flags.DEFINE_list("targets", [], "Modalities to generate; the missing modalities of each case if not given.")
    shared_flags.define_images(constants.TRANSLATED_BLUR)


def insert() -> None:
    """Inserts lesions into the images of patients, and generates the modalities that they lack, with the lesions.

    mmsynth insert --models=models/a --input=scans/ --label=labels/ --output=out/
    mmsynth insert --models=models/a --input=scans/case_1 --label=case_1_seg.nii.gz --output=out/
    mmsynth insert --models=models/a --input=scans/ --lesions_from=labelled/ --output=out/

    From a folder, --label draws a file at random; the lesion is then turned,
    scaled and moved to a place where it fits. A single file stays where its
    header says, unless --move_label is given. With --lesions_from, a real lesion
    of another patient is pasted in place of a generated one.

    Cases may have a lesion of their own or none. mmsynth.json says how well the
    joint segmenter, if the models have it, finds what was inserted.
    """
    if bool(_FLAGS.label) == bool(_FLAGS.lesions_from):
        raise UserError("Give either --label, for a generated lesion, or --lesions_from, for a real one.")
    if _FLAGS.lesions_from:
        _paste()
        return
    from mmsynth_tf.patients import insert, lesions

    models = shared_flags.load_models()
    path = Path(_FLAGS.label)
    job = insert.Insert(
        models,
        lesions.find(path, _FLAGS.label_release),
        count=_FLAGS.count,
        overlap=_FLAGS.overlap,
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


def define_insert() -> None:
    shared_flags.define_cases()
    flags.DEFINE_string("source", None, "Modality of the structure map; the first of each case if not given.")
    shared_flags.define_label(required=False)
    path_flags.define_path(
        "lesions_from", None, "Folder with labelled cases, whose real lesions are pasted in place of generated ones."
    )
    flags.DEFINE_integer("count", 1, "Number of lesions to insert into each case.", lower_bound=1)
    flags.DEFINE_bool("overlap", False, "Lesions may overlap each other, and the case's own lesion.")
    flags.DEFINE_bool("move_label", None, "Move the lesion to a random place; the default except for a single --label.")
    flags.DEFINE_bool(
        "remove_lesion", False, "Erase the case's own lesion, found by its label or else by the models' segmentation."
    )
    flags.DEFINE_bool("redraw", False, "Generate the whole images, not only the lesion.")
    shared_flags.define_label_values()
    shared_flags.define_images(constants.SYNTHESISED_BLUR)


def segment() -> None:
    """Segments the lesions of patients: one label from each modality, and one from all together.

    mmsynth segment --models=models/a --input=scans/ --output=out/ --label_values=brats2017-2021
    """
    from mmsynth_tf.patients import segment

    models = shared_flags.load_models()
    _for_each_case(models, segment.Segment(models, _FLAGS.label_values, _FLAGS.min_volume, _FLAGS.keep_beyond))


def define_segment() -> None:
    shared_flags.define_cases()
    shared_flags.define_label_values()
    flags.DEFINE_float(
        "min_volume",
        0.0,
        "Drop connected lesions of a smaller volume, ml; 0 keeps all.",
        lower_bound=0.0,
    )
    flags.DEFINE_bool(
        "keep_beyond", False, "Keep lesions that lie as a whole above or below the height of all training slices."
    )


def view() -> None:
    """Writes a page that shows cases slice by slice in any browser, without a server.

    mmsynth view --input=out/ --output=view.html
    """
    from mmsynth_tf.patients import viewer

    output = Path(_FLAGS.output)
    atomic.refuse_existing(output, _FLAGS.overwrite)
    viewer.write_page(_FLAGS.input, output)
    print(f"Open {output} in a browser.")


def define_view() -> None:
    path_flags.define_path("input", None, "Folder with cases at any depth, or one image file.", required=True)
    shared_flags.define_output("HTML file to write.")


def _paste() -> None:
    given = [name for name in ("remove_lesion", "redraw", "source") if _FLAGS[name].value]
    if given:
        raise UserError(f"--lesions_from generates nothing and does not take --{given[0]}. Leave it out.")
    from mmsynth_tf.patients import paste
    from mmsynth_tf.reading import releases

    models = shared_flags.load_models()
    job = paste.Paste(
        models,
        releases.find_cases(_FLAGS.lesions_from, models.data.modalities),
        count=_FLAGS.count,
        overlap=_FLAGS.overlap,
        move=_FLAGS.move_label is not False,
        seed=_FLAGS.seed,
        largest=_FLAGS.largest,
        release=_FLAGS.label_values,
    )
    _for_each_case(models, job)


def _for_each_case(models: Any, job: Callable) -> None:
    from mmsynth_tf.patients import files, jobs

    cases = files.find(Path(_FLAGS.input), models.data.modalities, _FLAGS.modality, _FLAGS.release)
    jobs.for_each(cases, Path(_FLAGS.output), job, _FLAGS.overwrite, _FLAGS.resume)
    print(f"{len(cases)} cases in {_FLAGS.output}. {constants.DISCLAIMER}")
