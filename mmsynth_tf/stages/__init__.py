"""The three training stages; `STAGES` says what each trains, on which batches, with which optimizers."""

from mmsynth_tf.stages.catalogue import STAGES

__all__ = ["STAGES"]
