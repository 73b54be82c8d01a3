"""Options of Apache Beam, which is optional (extra `beam`)."""

import shlex
from typing import TYPE_CHECKING

from mmsynth_tf.errors import UserError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


def pipeline_options(text: str) -> "PipelineOptions":
    """Parses options from a string such as "--runner=FlinkRunner --flink_master=host:8081".

    Raises:
      UserError: Beam is not installed.
    """
    try:
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise UserError(f"--beam_options needs Apache Beam ({error}). Run pip install 'mmsynth_tf[beam]'.") from error
    return pipeline_options.PipelineOptions(shlex.split(text))
