"""Method and experiments: what commit 142d6ee gives; bodies of the tests of today on the names of then."""

from pathlib import Path

import numpy as np
import scipy.ndimage
from registry import probe

from mmsynth_tf.presets import preset


@probe("B1")
def shares_along_a_pass(folder: Path) -> str:
    """13,420 real slices and three times as many synthetic ones, joined as mixtures and train.py join them."""
    import tensorflow as tf

    from mmsynth_tf import input_pipeline

    real, count = 13_420, 4 * 13_420
    slices = {"image": np.zeros((count, 1, 1, 1, 1), np.int32), "label": np.zeros((count, 1), np.uint8)}
    slices |= {"available": np.ones((count, 1), bool), "has_label": np.ones(count, bool)}
    slices["image"][real:] = 1
    drawn = input_pipeline.SliceSource(tf.data.Dataset.from_tensor_slices(slices), 1).modality(0, seed=0, start=0)
    kinds = np.array([int(x["image"][0, 0, 0]) for x in drawn.take(count)]).reshape(4, -1)
    shares = ", ".join(f"{1 - share:.2f}" for share in kinds.mean(axis=1))
    return f"13,420 real and 40,260 synthetic slices: share of real ones in the quarters of a pass {shares}, right 0.25"


@probe("B2")
def moved_copy(folder: Path) -> str:
    from mmsynth_tf import records, training
    from mmsynth_tf.experiments import memorisation
    from tests import fakes as networks
    from tests import fakes_sets

    training.load = lambda stage, workdir: (networks.segmenter(fakes_sets.CONFIG), fakes_sets.CONFIG)
    real = fakes_sets.real_data()
    slices = fakes_sets.examples(7, [f"s{i}" for i in range(4)])
    images = real.examples["train"]["image"].astype(np.float32)
    turned = [scipy.ndimage.rotate(image, 8, axes=(1, 2), reshape=False, order=1) for image in images]
    slices["image"][:] = np.roll(np.stack(turned).astype(np.float16)[: len(slices["image"])], 1, axis=3)
    memorisation.run(fakes_sets.request(folder, real, fakes_sets.synthetic_data(slices, real), rows=("image",)))
    rows = records.read_json(folder / "evaluation" / "memorisation" / "records.json")
    [verdict] = [row["value"] for row in rows if row["metric"] == memorisation.VERDICT]
    return f"12 training slices turned by 8° and shifted by a pixel: {verdict}"


@probe("B3")
def judge_of_lesions(folder: Path) -> str:
    from mmsynth_tf import run_records, training
    from mmsynth_tf.experiments import evaluation, segmentation
    from tests import fakes as networks
    from tests import fakes_sets

    loaded = []
    run_records.trained_on = lambda stage, workdir: []
    evaluation.refuse_leak = lambda trained_on, data, split: None  # The slices of the test have no patients.
    training.load = lambda stage, workdir: (
        loaded.append(stage) or networks.segmenter(fakes_sets.CONFIG),
        fakes_sets.CONFIG,
    )
    real = fakes_sets.real_data()
    made = fakes_sets.synthetic_data(fakes_sets.examples(7, ["s0"]), real)
    table = segmentation.run_lesion_check(fakes_sets.request(folder, real, made))["table"]
    return f"the lesion check loads {loaded} of the generator's own folder as its judge; columns {table.header}"


@probe("B4")
def requirement_of_the_paper(folder: Path) -> str:
    from tests.test_synthetic_builder import Generation, build

    record = build(Generation(), 6, folder / "made")
    card = (folder / "made" / "README.md").read_text()
    keys = [key for key in record["generation"] if "dice" in key.lower() or "agreement" in key.lower()]
    named = {value: value in card for value in ("0.99", "0.95")}
    return f"record of a finished set: keys on the segmenters' Dice {keys}; values of the paper in its card: {named}"


@probe("B5")
def preset_paper(folder: Path) -> str:
    from mmsynth_tf.models import discriminators

    config = preset("paper")
    weights = config.synthesis.weights
    of_classes = {name: value for name, value in vars(weights).items() if name.startswith("discriminator_class")}
    network = discriminators.patch_discriminator(
        (64, 64), base_filters=64, normalization=config.structure.discriminator_normalization, init_stddev=0.2
    )
    images = np.random.default_rng(0).normal(size=(4, 64, 64, 1)).astype(np.float32)
    scores = np.sqrt(np.mean(np.square(network(images))))
    return (
        f"normalisation of discriminators {config.structure.discriminator_normalization!r}, their first scores "
        f"{scores:.2g}; weights {of_classes}; fill_holes a setting: {hasattr(config.structure_map, 'fill_holes')}; "
        f"erase_lesion a setting: {hasattr(config.structure, 'erase_lesion')}"
    )


@probe("B6")
def labels_outside_of_a_small_head(folder: Path) -> str:
    from mmsynth_tf.models import fusion, structure

    def square(start: int, stop: int) -> np.ndarray:
        image = np.zeros((1, 64, 64, 1), np.float32)
        image[:, start:stop, start:stop] = 1
        return image

    expand = preset("cpu").structure_map.background_expand
    background = structure.background_mask(square(8, 56), expand=expand)
    labels = np.concatenate([square(6, 20), square(9, 20), square(45, 58)]).astype(np.uint8)
    found = fusion.fits(background, labels).numpy()[0].tolist()
    return f"a label that ends 2 pixels outside of a head of 48 pixels fits: {found[2]}, right False"


@probe("B7")
def reference_of_translation(folder: Path) -> str:
    from mmsynth_tf import config_tree, constants, records, run_records, training
    from mmsynth_tf.experiments import fidelity_tables, study, translation
    from tests import fakes as networks
    from tests import fakes_data

    config = config_tree.override(networks.tiny_config(num_modalities=2), {"synthesis.steps": 4})
    made = {constants.SYNTHESIS: networks.modality_gan, constants.SEGMENTATION: networks.segmenter}
    training.load = lambda stage, workdir: (made[stage](config), config)
    run_records.trained_on = lambda stage, workdir: []
    cases_of = {"train": ["r_0", "r_1"], "validation": ["r_4"], "test": ["r_2", "r_3"]}
    request = study.Request(folder / "models", fakes_data.data_set(folder, "patients", cases_of), steps=2)
    header = translation.run(request)[translation.PSNR].header
    rows = records.read_json(folder / "models" / "evaluation" / "translation" / "records.json")
    steps = {row["translator"]: row["steps"] for row in rows if "steps" in row}
    validated = any("validation_slices" in row for row in rows)
    tables = list(fidelity_tables.tables([], ("a", "b"), {}))
    return (
        f"synthesis stage of 4 steps, reference of --steps=2: steps recorded {steps}, validated {validated}, "
        f"columns {header}; tables of fidelity {tables}, none of the variety of slices"
    )
