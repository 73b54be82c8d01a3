"""Exported models: what the signatures compute, in a process without this package, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from mmsynth_tf import constants
from mmsynth_tf.algorithms import structure_maps
from mmsynth_tf.configs import tree
from mmsynth_tf.errors import UserError
from mmsynth_tf.experiments import study
from mmsynth_tf.export import model_card, saved_models, signatures
from mmsynth_tf.reports import finished, report
from mmsynth_tf.stages import catalogue
from mmsynth_tf.stages.structure.gan import code_dim
from mmsynth_tf.stages.synthesis.translation import Translator
from mmsynth_tf.training import run_folder
from tests.fakes import fakes, programs

SEED, BATCH = 5, 3
CONFIG = fakes.tiny_config(
    num_modalities=2,
    num_classes=3,
    synthesis__choices__fusion_noise=True,
)
CODE_DIM = code_dim(CONFIG.data.image_size, CONFIG.structure)
RECORD = {
    "source": "cases",
    "release": "decathlon",
    "split": {"train": ["case_1", "case_2"], "test": ["case_3"]},
    "patients": {},
    "created": "2026-01-01T00:00:00+00:00",
}

# Runs every signature on inputs named <signature>/<input>; writes <signature>/<output>.
PLAIN_PROGRAM = """
import sys
import numpy as np
import tensorflow as tf
folder, inputs, outputs = sys.argv[1:]
model = tf.saved_model.load(folder)
given = {tuple(name.split("/")): tf.constant(value) for name, value in np.load(inputs).items()}
results = {}
for name, function in model.signatures.items():
    found = function(**{key: value for (owner, key), value in given.items() if owner == name})
    results.update({f"{name}/{key}": value.numpy() for key, value in found.items()})
np.savez(outputs, **results)
loaded = {module.split(".")[0] for module in sys.modules}
assert not loaded & {"mmsynth_tf", "tensorflow_addons", "datasets"}, loaded
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work directory with all three stages, and their models with averaged weights."""
    workdir, models = tmp_path_factory.mktemp("workdir"), {}
    for stage in constants.STAGES:
        run = fakes.untrained(stage, CONFIG, workdir, [RECORD])
        for shadow in run.average.shadows:
            shadow.assign(1.1 * shadow + 0.01)
        run.checkpoints.save(1)
        run.average.install()
        models[stage] = run.model
    return types.SimpleNamespace(workdir=workdir, models=models)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "a"
    saved_models.export(trained.workdir, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(exported):
    return saved_models.load_exported(exported)


@pytest.fixture
def structure_only(trained, tmp_path):
    """A work directory with one stage, which is quick to export."""
    shutil.copytree(trained.workdir / constants.STRUCTURE, tmp_path / "workdir" / constants.STRUCTURE)
    return tmp_path / "workdir"


def draw_inputs():
    rng = np.random.default_rng(SEED)
    shape = (BATCH, *CONFIG.data.image_size, 1)
    image = rng.uniform(size=shape).astype(np.float32) * (rng.uniform(size=shape) < 0.7)
    values = {
        "code": rng.standard_normal((BATCH, CODE_DIM)).astype(np.float32),
        "position": np.array([0.1, 0.5, 0.9], np.float32),
        "label": rng.integers(0, 3, shape).astype(np.uint8),
        "noise": rng.uniform(size=shape).astype(np.float32),
        "structure": rng.integers(0, 2, shape).astype(np.float32),
        "background": rng.integers(0, 2, shape).astype(np.float32),
        "image": image.astype(np.float32),
        "images": np.concatenate([image, np.zeros_like(image)], axis=-1).astype(np.float32),
        "target": np.array([0, 1, 1], np.int32),
    }
    takes = {
        "sample_structure": ["code", "position"],
        "synthesize": ["structure", "background", "label", "noise"],
        "generate": ["code", "position", "label", "noise"],
        "translate": ["images", "target", "label"],
        "segment_modality_0": ["image"],
        "segment_modality_1": ["image"],
        "segment": ["images"],
    }
    return {name: {key: values[key] for key in keys} for name, keys in takes.items()}


def expected_outputs(models, inputs):
    """The same from the networks, step by step."""
    structure_gan, modality_gan = models[constants.STRUCTURE], models[constants.SYNTHESIS]
    probability = structure_gan.decode(*(inputs["generate"][name] for name in ("code", "position"))).numpy()
    edges = (probability >= 0.5).astype(np.float32)
    outside_probability = structure_gan.mask_generator(edges).numpy()
    head = structure_maps.connected_to(edges, (outside_probability < 0.5).astype(np.float32))
    outside = structure_maps.background_mask(head).numpy()
    edges = edges * (1 - outside)
    assert 0 < edges.mean() < 1  # Otherwise the thresholds would not be tested.

    def images(structure, background, label, noise):
        given = (tf.constant(value) for value in (structure, background, label, noise))
        found = modality_gan.synthesize(*given, contrast=tf.zeros([len(label), 2, 0])).numpy()
        return {f"modality_{i}": found[:, i] for i in range(2)}

    shown, target, label = (tf.constant(inputs["translate"][name]) for name in ("images", "target", "label"))
    # Compiled like the exported function: one by one, its many operations round a little otherwise.
    translate = tf.function(Translator(modality_gan, CONFIG.translation).translate, autograph=False)
    image, processor = inputs["segment_modality_0"]["image"], models[constants.SEGMENTATION].lesion_processor
    lesions = processor(tf.constant(np.stack([image, image], axis=1))).numpy()
    return {
        "sample_structure": {"structure": probability, "background": outside_probability},
        "synthesize": images(**inputs["synthesize"]),
        "generate": {
            "structure": edges,
            "background": outside,
            **images(edges, outside, inputs["generate"]["label"], inputs["generate"]["noise"]),
        },
        "translate": {"image": translate(shown, target, label).numpy()},
        "segment_modality_0": {"probabilities": lesions[:, 0]},
        "segment_modality_1": {"probabilities": lesions[:, 1]},
        "segment": {"probabilities": models[constants.JOINT].probabilities(tf.constant(inputs["segment"]["images"]))},
    }


def flat(nested):
    return {f"{outer}/{inner}": value for outer, values in nested.items() for inner, value in values.items()}


def test_process_without_this_package_computes_what_the_models_do(trained, exported, tmp_path):
    inputs = draw_inputs()
    np.savez(tmp_path / "inputs.npz", **flat(inputs))
    command = [sys.executable, "-I", "-c", PLAIN_PROGRAM, exported, tmp_path / "inputs.npz", tmp_path / "outputs.npz"]
    result = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    found = dict(np.load(tmp_path / "outputs.npz"))
    expected = flat(expected_outputs(trained.models, inputs))
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_slices_of_a_batch_are_independent_and_batches_of_any_size(loaded):
    for name, inputs in draw_inputs().items():
        whole = loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
        last = loaded.signatures[name](**{key: tf.constant(value[-1:]) for key, value in inputs.items()})
        for key in whole:
            np.testing.assert_allclose(last[key], whole[key][-1:], rtol=0, atol=1e-5, err_msg=f"{name}/{key}")


def test_weights_of_generators_are_stored_once_and_no_others(trained, exported):
    structure_gan, modality_gan = trained.models[constants.STRUCTURE], trained.models[constants.SYNTHESIS]
    used = [
        structure_gan.decoder,
        structure_gan.code_flow,
        structure_gan.mask_generator,
        modality_gan.fusion_encoder,
        modality_gan.image_encoder,
        modality_gan.decoder,
        trained.models[constants.SEGMENTATION].lesion_processor,
        *(trained.models[constants.JOINT].encoder, trained.models[constants.JOINT].decoder),
    ]
    stored = tf.train.list_variables(str(exported / "variables" / "variables"))
    stored_shapes = [shape for name, shape in stored if name.endswith("VARIABLE_VALUE")]
    statistics = structure_gan.edge_offset, structure_gan.code_mean, structure_gan.code_covariance
    variables = [*statistics, *(v for network in used for v in network.weights)]
    assert sorted(stored_shapes) == sorted(list(v.shape) for v in variables)


def test_metadata_describes_every_value_and_where_the_models_come_from(exported):
    metadata = json.loads((exported / saved_models.METADATA_FILE).read_text())
    assert metadata["format_version"] == saved_models.FORMAT_VERSION
    assert metadata["disclaimer"] == "Research software. Not for clinical use."
    assert metadata["modalities"] == ["modality_0", "modality_1"]
    assert metadata["label_classes"] == ["class_0", "class_1", "class_2"]
    assert metadata["regions"] == {"all": [1, 2]}
    assert metadata["latent_dim"] == CODE_DIM
    assert metadata["thresholds"] == {"structure": 0.5, "background": 0.5}
    assert set(metadata["stages"]) == set(constants.STAGES)
    assert metadata["stages"]["synthesis"]["trained_on"] == [RECORD]
    assert len({stage["checkpoint_sha256"] for stage in metadata["stages"].values()}) == len(constants.STAGES)
    generate = metadata["signatures"]["generate"]
    assert list(generate["inputs"]) == ["code", "label", "position", "noise"]
    assert generate["inputs"]["label"]["dtype"] == "uint8"
    assert generate["inputs"]["code"]["shape"] == [None, CODE_DIM]
    assert "OUTSIDE" in generate["outputs"]["background"]["meaning"]
    assert generate["outputs"]["modality_1"]["shape"] == [None, 16, 16, 1]
    assert metadata["signatures"]["segment"]["inputs"]["images"]["shape"] == [None, 16, 16, 2]
    assert metadata["signatures"]["segment_modality_0"]["outputs"]["probabilities"]["shape"] == [None, 16, 16, 3]


def test_metadata_agrees_with_the_saved_model(loaded):
    assert set(loaded.signatures) == set(draw_inputs())
    for name, function in loaded.signatures.items():
        specs = {"inputs": function.structured_input_signature[1], "outputs": function.structured_outputs}
        for kind, values in loaded.metadata["signatures"][name].items():
            stated = {key: (value["dtype"], value["shape"]) for key, value in values.items()}
            assert stated == {key: (spec.dtype.name, spec.shape.as_list()) for key, spec in specs[kind].items()}


def test_noise_and_lesions_are_inputs_only_where_the_models_want_them():
    config = fakes.tiny_config(num_modalities=2, num_classes=3, translation__map_share=0.0)
    stage = constants.SYNTHESIS
    traced = signatures.Signatures(
        {stage: catalogue.STAGES[stage].build(config)}, config.data, config.translation
    ).trace()
    assert set(traced) == {"synthesize", "translate"}
    assert set(signatures.describe(traced["synthesize"])["inputs"]) == {"structure", "background", "label"}
    assert set(signatures.describe(traced["translate"])["inputs"]) == {"images", "target"}


@pytest.mark.parametrize(("signature", "name", "value"), [("translate", "target", 2), ("synthesize", "label", 3)])
def test_value_that_names_nothing_is_refused(loaded, signature, name, value):
    inputs = {key: tf.constant(array) for key, array in draw_inputs()[signature].items()}
    inputs[name] = tf.fill(inputs[name].shape, tf.constant(value, inputs[name].dtype))
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{name} must be one of 0\.\.{value - 1}"):
        loaded.signatures[signature](**inputs)


def test_no_modality_can_have_the_name_of_another_value():
    assert {constants.ALL_MODALITIES, *signatures.VALUES} == set(constants.RESERVED_NAMES)


def test_program_exports_the_stages_that_there_are(structure_only, tmp_path):
    result = programs.run("-m", "mmsynth_tf.export", f"--workdir={structure_only}", f"--output={tmp_path / 'a'}")
    assert result.returncode == 0, result.stderr
    assert "sample_structure(code, position) -> structure, background" in result.stdout
    assert list(saved_models.load_exported(tmp_path / "a").signatures) == ["sample_structure"]


def test_work_directory_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(saved_models.ExportError, match=r"holds no trained stage; run train\.py"):
        saved_models.export(tmp_path / "workdir", tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_stages_trained_on_different_slices_are_refused(structure_only, trained, tmp_path):
    stage = structure_only / constants.SEGMENTATION
    shutil.copytree(trained.workdir / constants.SEGMENTATION, stage)
    config = tree.override(CONFIG, {"data.percentiles": (0.5, 90.0)})
    (stage / run_folder.CONFIG_FILE).write_text(tree.to_json(config))
    with pytest.raises(saved_models.ExportError, match=r"percentiles is \(0\.5, 90\.0\) there and \(0\.5, 99\.5\) in"):
        saved_models.export(structure_only, tmp_path / "a")


def test_the_card_says_what_the_models_are_of_and_how_to_share_them(exported):
    card = (exported / model_card.CARD_FILE).read_text()
    assert card.startswith("# a: ") and constants.DISCLAIMER in card
    weights = json.loads((exported / saved_models.METADATA_FILE).read_text())["stages"]["joint"]["checkpoint_sha256"]
    assert f"| joint | decathlon | 2 / 0 / 1 | 2026-01-01T00:00:00+00:00 | {weights} |" in card
    assert "mmsynth segment --models=a --input=scans/ --output=segment/" in card
    assert "Antonelli" in card and "https://creativecommons.org/licenses/by-sa/4.0/" in card
    assert "To measure the segmenters" in card
    licence = (exported / model_card.LICENCE_FILE).read_text()
    assert licence.startswith(
        "The weights are licensed under Creative Commons Attribution-ShareAlike 4.0 International"
    )
    assert licence.strip() in card


def test_only_what_the_models_offer_is_on_the_card(structure_only, tmp_path):
    saved_models.export(structure_only, tmp_path / "a")
    card = (tmp_path / "a" / model_card.CARD_FILE).read_text()
    assert "sample_structure" in card and "mmsynth segment" not in card


def test_scores_are_quoted_if_they_are_of_the_exported_weights(trained, exported, tmp_path):
    shutil.copytree(trained.workdir, tmp_path / "w")
    folder = tmp_path / "w" / finished.EVALUATION / "segmentation"
    table = report.Table(["region", "dice"], [["WT", 0.875]], "Dice per volume")
    study.Study.finish(types.SimpleNamespace(folder=folder), [], {"table": table})
    metadata = json.loads((exported / saved_models.METADATA_FILE).read_text())
    card = model_card.render("a", metadata, tmp_path / "w")
    assert "| WT | 0.875 |" in card and "these scores are too good" in card
    os.utime(folder / finished.TABLES_FILE, (0, 0))  # The weights were trained on after the scoring.
    assert "| WT | 0.875 |" not in model_card.render("a", metadata, tmp_path / "w")


def test_checksums_find_every_change(structure_only, tmp_path):
    folder = tmp_path / "a"
    saved_models.export(structure_only, folder)
    check = ["sha256sum", "--check", "--strict", model_card.CHECKSUMS_FILE]
    assert subprocess.run(check, cwd=folder, check=False, capture_output=True).returncode == 0
    listed = {line.split("  ")[1] for line in (folder / model_card.CHECKSUMS_FILE).read_text().splitlines()}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert listed == there - {model_card.CHECKSUMS_FILE}
    with open(folder / "saved_model.pb", "r+b") as file:
        file.write(b"\0")
    result = subprocess.run(check, cwd=folder, check=False, capture_output=True, text=True)
    assert result.returncode == 1 and "saved_model.pb: FAILED" in result.stdout


def test_an_export_is_of_a_work_directory_until_that_is_trained_on(structure_only, tmp_path):
    assert not saved_models.is_export_of(structure_only, tmp_path / "a")
    saved_models.export(structure_only, tmp_path / "a")
    assert saved_models.is_export_of(structure_only, tmp_path / "a")
    run = fakes.untrained(constants.STRUCTURE, CONFIG, structure_only, [RECORD])
    run.checkpoints.save(2)
    assert not saved_models.is_export_of(structure_only, tmp_path / "a")


def test_export_that_fails_leaves_nothing(structure_only, tmp_path, monkeypatch):
    def fail(stage, workdir):
        raise OSError("no longer there")

    monkeypatch.setattr(run_folder, "trained_on", fail)
    with pytest.raises(OSError, match="no longer there"):
        saved_models.export(structure_only, tmp_path / "out" / "a")
    assert not list((tmp_path / "out").iterdir())


def test_replaces_only_an_export_and_only_when_asked(structure_only, tmp_path):
    patients, models = tmp_path / "patients", tmp_path / "models"
    for folder, file in ((patients, "t1.nii"), (models, saved_models.METADATA_FILE)):
        folder.mkdir()
        (folder / file).touch()
    with pytest.raises(UserError, match="--overwrite"):
        saved_models.export(structure_only, models)
    with pytest.raises(UserError, match="not overwritten"):
        saved_models.export(structure_only, patients, overwrite=True)
    assert (patients / "t1.nii").exists()
    saved_models.export(structure_only, models, overwrite=True)
    assert set(saved_models.load_exported(models).signatures) == {"sample_structure"}


def _rewrite_metadata(folder, **changes):
    path = folder / saved_models.METADATA_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / saved_models.METADATA_FILE).unlink(), r"metadata\.json is missing"),
        (lambda f: (f / saved_models.METADATA_FILE).write_text("{"), "does not describe exported models"),
        (lambda f: (f / saved_models.METADATA_FILE).write_text("[]"), "does not describe exported models"),
        (lambda f: _rewrite_metadata(f, format_version=99), "format 99.* Install a newer mmsynth_tf"),
        (
            lambda f: _rewrite_metadata(f, format_version=1),
            "format 1.* Write it again with python -m",
        ),
        (lambda f: _rewrite_metadata(f, signatures={"dream": {}}), "lacks dream"),
        (lambda f: (f / "saved_model.pb").unlink(), "no SavedModel that can be loaded"),
        (lambda f: (f / "saved_model.pb").write_bytes(b"no model"), "no SavedModel that can be loaded"),
        (lambda f: shutil.rmtree(f / "variables"), "no SavedModel that can be loaded"),
    ],
)
def test_folder_that_is_no_export_is_refused(exported, tmp_path, spoil, message):
    folder = tmp_path / "a"
    shutil.copytree(exported, folder)
    spoil(folder)
    with pytest.raises(saved_models.ExportError, match=message):
        saved_models.load_exported(folder)
