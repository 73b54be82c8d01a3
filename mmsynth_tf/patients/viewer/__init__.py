"""One HTML page to view cases: three planes, all modalities, label overlay. It needs no server and no network."""

from mmsynth_tf.patients.viewer.page import write_page

__all__ = ["write_page"]
