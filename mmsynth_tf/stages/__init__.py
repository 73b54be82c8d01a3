"""The training stages; `STAGES` gives the model, the batches and the optimizers of each."""

from mmsynth_tf.stages.catalogue import STAGES

__all__ = ["STAGES"]
