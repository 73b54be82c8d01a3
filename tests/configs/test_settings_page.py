"""The page of settings is that of today's definitions."""

import re
from pathlib import Path

from mmsynth_tf.configs import Config, tree
from tests.configs.settings_page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "Run python -m tests.configs.settings_page > docs/settings.md"


def test_the_page_has_a_row_for_every_setting():
    rows = set(re.findall(r"^\| `([\w.]+)` \|", page(), re.MULTILINE))
    assert set(tree.fields(Config())) <= rows
