"""One HTML page to look through cases: three planes, all modalities, label on top. No server and no network."""

from mmsynth_tf.patients.viewer.page import write_page

__all__ = ["write_page"]
