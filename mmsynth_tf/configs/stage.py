"""What the settings of all training stages have in common. No TensorFlow here."""

from mmsynth_tf.errors import UserError


class StageConfig:
    """What the settings of all stages have in common."""

    steps: int
    steps_per_checkpoint: int
    batch_size: int

    def require_consistent(self, replicas: int) -> None:
        """Refuses settings that do not go together.

        Args:
          replicas: devices that share a batch.

        Raises:
          UserError: a run would not end at a checkpoint, a replica would get no or fewer slices, or a setting lacks
            what it builds on.
        """
        if self.steps % self.steps_per_checkpoint:
            raise UserError(
                f"steps ({self.steps}) must be a multiple of steps_per_checkpoint ({self.steps_per_checkpoint})."
            )
        if self.batch_size % replicas:
            raise UserError(
                f"batch_size ({self.batch_size}) must be a multiple of the number of devices ({replicas}); "
                "change it, or hide devices with CUDA_VISIBLE_DEVICES."
            )
