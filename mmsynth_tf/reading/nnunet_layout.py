"""Refuses nnU-Net's raw layout, and derives from its description the names and settings that make it readable."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.reading.file_search import Listing

_IMAGE = re.compile(
    r"(?P<folder>(?:.*/)?)imagesTr/(?P<case>[^/]+)_(?P<channel>\d{4})(?P<ending>\.(?:nii|nii\.gz|mha|nrrd))"
)
_DESCRIPTION = "dataset.json"
_READABLE = (".nii", ".nii.gz")
_IGNORE = "ignore"  # nnU-Net's name for voxels without a class.


@dataclasses.dataclass(frozen=True)
class _Description:
    """The content of dataset.json; fields without a usable entry are empty."""

    modalities: Mapping[int, str]  # By channel.
    labels: tuple[str, ...]  # By value.
    regions: Mapping[str, list[int]]  # Values by name.

    def modality(self, channel: int) -> str:
        return self.modalities.get(channel, f"<modality of channel {channel}>")


def refuse(folder: Path, listing: Listing) -> None:
    """Refuses nnU-Net's raw layout, because its file names do not state the modality.

    Raises:
      UserError: the folder has images `imagesTr/<case>_0000`, with labels that lack the number.
    """
    matches = [match for path in listing.files if (match := _IMAGE.fullmatch(path))]
    labels = {PurePosixPath(path).name.split(".")[0] for path in listing.files if "labelsTr/" in path}
    images = [match for match in matches if f"{match['case']}_{match['channel']}" not in labels]
    first = next((match for match in images if match["channel"] == "0000"), None)
    if first is None:
        return
    case = first["case"]
    channels = sorted({int(match["channel"]) for match in images if match["case"] == case})
    description = _read(listing.parent / first["folder"] / _DESCRIPTION)
    renames = ", ".join(f"{case}_{channel:04d} to {case}_{description.modality(channel)}" for channel in channels)
    convert = "" if first["ending"] in _READABLE else " Convert the files to .nii.gz."
    raise UserError(
        f"{folder} is in nnU-Net's raw layout ({first[0]}), which is not read: file names do not say what an image "
        f"shows.{convert} Rename {renames} and so on for all cases, and put labelsTr/{case} beside them as {case}_seg. "
        f"Read them with --release=custom, and give datasets/build.py {_settings(description, channels)}."
    )


def _settings(description: _Description, channels: list[int]) -> str:
    """The flags that set modalities, classes and regions as in the description."""
    settings = [f"--config.data.modalities={','.join(map(description.modality, channels))}"]
    if description.labels:
        settings.append(f"--config.data.labels={','.join(description.labels)}")
        settings.append(f"--config.data.regions='{json.dumps(description.regions)}'")
    else:
        settings.append("--config.data.labels and --config.data.regions, which name the label values from 0 on")
    return " ".join(settings)


def _read(path: Path) -> _Description:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        content = None
    if not isinstance(content, dict):
        content = {}
    return _Description(_modalities(content), *_classes(content))


def _modalities(content: Mapping[str, Any]) -> dict[int, str]:
    """Maps channels to names that are valid in files and settings; empty unless the names are unique."""
    channels = content.get("channel_names") or content.get("modality")  # `modality` is used before version 2.
    try:
        names = {int(channel): re.sub(r"[\W_]", "", str(name)) for channel, name in channels.items()}
    except (ValueError, AttributeError):
        return {}
    lower = [name.lower() for name in names.values()]
    if len(set(lower)) < len(lower) or {"", "seg", *constants.RESERVED_NAMES} & set(lower):
        return {}
    return names


def _classes(content: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """Names of the label values, and the values of each region.

    nnU-Net maps a name to a value or, for regions, to a list of values. Before version 2, values are the keys.
    """
    regions = {}
    try:
        for name, values in content["labels"].items():
            if str(name).isdigit():
                name, values = values, int(name)
            values = [int(value) for value in (values if isinstance(values, list) else [values])]
            if str(name).lower() != _IGNORE:
                regions[re.sub(r"\W+", "_", str(name))] = values
    except (KeyError, TypeError, ValueError, AttributeError):
        return (), {}
    single = {0: "background"} | {values[0]: name for name, values in regions.items() if len(values) == 1}
    largest = max((value for values in regions.values() for value in values), default=0)
    labels = tuple(single.get(value, f"class_{value}") for value in range(largest + 1))
    return labels, {name: values for name, values in regions.items() if values != [0]}
