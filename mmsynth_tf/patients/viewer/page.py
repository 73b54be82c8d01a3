"""Writes the viewer's HTML page."""

import html
import importlib.resources
import json
import logging
import os
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmsynth_tf import constants
from mmsynth_tf.errors import UserError
from mmsynth_tf.patients import jobs
from mmsynth_tf.patients.viewer.files import find_images
from mmsynth_tf.patients.viewer.volume_data import pack_case
from mmsynth_tf.reports import figures
from mmsynth_tf.storage import atomic

_LOG = logging.getLogger(__name__)


def write_page(cases: str | os.PathLike, output: str | os.PathLike, max_size: int = 128) -> None:
    """Writes one HTML file that shows cases in a browser, without a server or a network.

    Args:
      cases: a NIfTI file, a case's folder, or a folder with cases at any depth; see `viewer.files.find_images`.
      output: the HTML file; replaced if it exists.
      max_size: maximum number of voxels along an axis; larger heads are downsampled to keep the page small.

    Raises:
      UserError: no image is found, or a case cannot be read; the message names it.
    """
    if max_size < 1:
        raise UserError(f"Volumes cannot be shrunk to {max_size} voxels along an axis; give 1 or more.")
    found = find_images(Path(cases))
    page = _render([pack_case(case, max_size) for case in jobs.progress(found, len(found))])
    atomic.write_text(output, page)
    _LOG.info("%s: %d cases, %.1f MB.", output, len(found), len(page) / 1e6)


def _render(cases: list[Mapping[str, Any]]) -> str:
    template = string.Template(_asset("page.html"))
    return template.substitute(
        title=html.escape(cases[0]["name"] if len(cases) == 1 else f"{len(cases)} cases"),
        disclaimer=html.escape(constants.DISCLAIMER),
        style=_asset("page.css"),
        script=_asset("page.js"),
        colours=_json(figures.LABEL_COLOURS),
        cases="\n".join(map(_case_element, cases)),
    )


def _case_element(case: Mapping[str, Any]) -> str:
    name = html.escape(case["name"])
    return f'<script type="application/json" class="case" data-name="{name}">{_json(case)}</script>'


def _json(value: Any) -> str:
    # Within a script element, "</" could end it.
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
