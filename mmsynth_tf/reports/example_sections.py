"""Common parts of reports: selections of slices from prepared data sets, and sections on synthetic sets."""

from collections.abc import Mapping, Sequence

import numpy as np

from mmsynth_tf import prepared
from mmsynth_tf.reports import figures, lesion_requirement, report

Example = Mapping[str, np.ndarray]
Key = tuple[bytes, int]  # Case id and slice index.
SEED = 0  # For the choice of samples.


def first_examples(data: prepared.PreparedData, split: str, count: int) -> list[Example]:
    """The first slices of a split."""
    return list(data.slices(split).take(count).as_numpy_iterator())


def examples_with(data: prepared.PreparedData, split: str, keys: Sequence[Key]) -> list[Example]:
    """The slices of a split with these keys, in the order of the keys."""
    wanted = set(keys)
    found = {key_of(x): x for x in data.slices(split).as_numpy_iterator() if key_of(x) in wanted}
    return [found[key] for key in keys]


def key_of(example: Example) -> Key:
    return example["case_id"], int(example["slice_index"])


def drawn_keys(data: prepared.PreparedData, count: int) -> list[Key]:
    """Keys of randomly drawn synthetic slices, the same in every call."""
    cases = data.cases["train"]
    drawn = np.random.default_rng(SEED).permutation(len(cases))[:count]
    return [(cases[i].encode(), 0) for i in drawn]


def lesion_slices(data: prepared.PreparedData, split: str, count: int) -> list[Example]:
    """Slices with a lesion, evenly spaced over a split."""
    keys = [key_of(x) for x in data.slices(split).as_numpy_iterator() if x["label"].any()]
    chosen = np.unique(np.linspace(0, len(keys) - 1, count).astype(int)) if keys else ()
    return examples_with(data, split, [keys[i] for i in chosen])


def structure_maps(examples: Sequence[Example]) -> bytes:
    """Structure maps of synthetic slices with their background masks, PNG."""
    structures, backgrounds = (np.stack([e[name][..., 0] for e in examples]) for name in ("structure", "background"))
    return figures.structure_grid(structures, backgrounds)


def quadruples(
    examples: Sequence[Example], data: prepared.PreparedData, row_names: Sequence[str] | None = None
) -> bytes:
    """Slices in all modalities with their labels and, if they are synthetic, their maps and masks, PNG."""
    maps = {
        f"{name}s": np.stack([e[name][..., 0] for e in examples])
        for name in ("structure", "background")
        if name in examples[0]
    }
    labels = np.stack([e["label"][..., 0] for e in examples])
    images = modality_images(examples)
    return figures.quadruples(images, data.config.modalities, labels, data.config.labels, row_names=row_names, **maps)


def modality_images(examples: Sequence[Example]) -> np.ndarray:
    """float32 [N, H, W, n]."""
    return np.stack([np.moveaxis(e["image"][..., 0], 0, -1) for e in examples]).astype(np.float32)


def filter_section(records: Mapping[str, Mapping]) -> report.Section:
    """Acceptance of the filters, and whether the accepted slices meet the paper's requirement.

    Args:
      records: the content of data_set.json by the name of the synthetic data set.
    """
    return report.Section(
        "Acceptance of the filters",
        "\n\n".join(f"{name}: {lesion_requirement.text(record)}" for name, record in records.items()),
        tables=[
            filter_table({name: record["generation"] for name, record in records.items()}),
            lesion_requirement.table(records),
        ],
    )


def filter_table(sets: Mapping[str, Mapping]) -> report.Table:
    """Table of the samples that each filter accepts.

    Args:
      sets: name of each synthetic data set to "generation" in its record.
    """
    rows = []
    for name, made in sets.items():
        settings, closed = made["settings"], made["passed_structure_filter"]
        typical = made["passed_map_filter"]
        of_maps = [
            [name, "structure filter (Algorithm 3)", f"mean |m'-m| ≤ {settings['mask_error']}", made["drawn"],
             closed, f"{made['structure_acceptance']:.1%}"],
            [name, "map filter (similarity to real maps)", f"quantile {settings['map_quantile']:g} of real ones",
             closed, typical, f"{typical / max(closed, 1):.1%}"],
        ]  # fmt: skip
        of_slices = [name, "lesion filter (segmenters)", f"Dice ≥ {settings['dice_threshold']}", made["synthesised"],
                     made["passed_lesion_filter"], f"{made['lesion_acceptance']:.1%}"]  # fmt: skip
        # Real maps are not filtered.
        rows += [of_slices] if prepared.has_real_anatomy(made) else [*of_maps, of_slices]
    return report.Table(["data set", "filter", "threshold", "tested", "passed", "acceptance"], rows)
