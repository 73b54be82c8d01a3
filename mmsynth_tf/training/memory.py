"""Peak memory of training steps, estimated from the settings before anything is built. No TensorFlow here.

A step keeps the features of all layers for its gradient. These grow with the slices that pass the networks, their
pixels and the filters of the first level. The factors are fitted to measured peaks: docs/performance.md, "Memory".
"""

import dataclasses
import logging
from pathlib import Path

from mmsynth_tf import constants
from mmsynth_tf.configs import Config, slice_sizes
from mmsynth_tf.errors import UserError

_GIB = 2.0**30
# Bytes kept for each slice that passes the networks, pixel and filter of the first level.
_BYTES = {constants.STRUCTURE: 124, constants.SEGMENTATION: 92, constants.JOINT: 92, constants.SYNTHESIS: 51}
# What a stage needs for slices of any size, such as traced steps and buffers of its input, GiB.
_FIXED_GIB = {constants.STRUCTURE: 0.15, constants.SEGMENTATION: 0.17, constants.JOINT: 0.09, constants.SYNTHESIS: 0.36}
# Weights for each squared filter of the coarsest level: of a U-Net, and of the structure stage. Each is kept with its
# gradient, Adam's two moments, and copies.
_UNET_WEIGHTS, _STRUCTURE_WEIGHTS, _BYTES_OF_WEIGHT = 27.5, 45.0, 24
# Dense layers between the code of a map and its coarsest features, times the channels of these.
_CODE_WEIGHTS = 3 * 32
# Share by which a need may differ from its estimate; measured peaks differed by 0.13 at most.
UNSURE = 0.25
_MEMINFO = Path("/proc/meminfo")
# Limits of containers: version 2 and 1 of cgroups.
_LIMITS = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Device:
    """What trains: `gpu`, and its free memory, GiB; None is not known."""

    gpu: bool
    memory_gib: float | None


def step_gib(stage: str, config: Config) -> float:
    """Estimate of a training's peak memory, GiB, besides the 0.6 GiB that TensorFlow itself takes in main memory."""
    settings = getattr(config, stage)
    filters = config.segmentation.base_filters if stage == constants.JOINT else settings.base_filters
    features = _BYTES[stage] * _slices(stage, config) * config.data.height * config.data.width * filters
    return _FIXED_GIB[stage] + (features + _BYTES_OF_WEIGHT * _num_weights(stage, config)) / _GIB


def available_gib(meminfo: Path = _MEMINFO, limits: tuple[Path, ...] = _LIMITS) -> float | None:
    """Main memory that a process can get before the system ends one, GiB; None where the system does not say.

    A container's limit counts where it is smaller.
    """
    try:
        rows = dict(line.split(":", 1) for line in meminfo.read_text(encoding="utf-8").splitlines() if ":" in line)
        found = [int(rows["MemAvailable"].split()[0]) * 1024 / _GIB]
    except (OSError, KeyError, ValueError):
        return None
    for path in limits:
        try:
            found.append(int(path.read_text(encoding="utf-8")) / _GIB)
        except (OSError, ValueError):  # No such file, or "max".
            continue
    return min(found)


def require_memory(stage: str, config: Config, device: Device) -> None:
    """Refuses a training that needs clearly more memory than there is; warns where the estimate is too near to say.

    The estimate is fitted to a CPU, so on a GPU it only warns.

    Args:
      stage: one of `constants.STAGES`.
      config: settings of the training.
      device: what trains; nothing is checked if its memory is not known.

    Raises:
      UserError: the system would end the process.
    """
    needed, available = step_gib(stage, config), device.memory_gib
    if available is None or needed <= available:
        return
    settings = getattr(config, stage)
    text = (
        f"The {stage} stage needs about {needed:.1f} GiB of memory ({config.data.height}x{config.data.width} pixels, "
        f"{stage}.batch_size {settings.batch_size}), and {available:.1f} GiB are free. {_remedy(stage, config)}"
    )
    if not device.gpu and needed * (1.0 - UNSURE) > available:
        raise UserError(text)
    _LOG.warning("%s It starts, because the estimate may be too large.", text)


def _remedy(stage: str, config: Config) -> str:
    remedies = []
    if stage == constants.SYNTHESIS and not config.synthesis.triples_per_slice:
        remedies.append("sample the modality pairs (--config.synthesis.triples_per_slice=1)")
    least = config.synthesis.full_every if stage == constants.SYNTHESIS else 1
    if getattr(config, stage).batch_size > least:
        remedies.append(f"give a smaller --config.{stage}.batch_size, at least {least}")
    remedies.append("choose a preset of smaller slices (workstation, cpu), or let --preset=auto choose")
    return f"End other programs, {', or '.join(remedies)}."


def _slices(stage: str, config: Config) -> float:
    """Slices that pass the networks of a step, or their equivalent."""
    batch, n = getattr(config, stage).batch_size, config.data.num_modalities
    if stage in (constants.STRUCTURE, constants.JOINT):
        return batch
    if stage == constants.SEGMENTATION:
        return batch * n
    triples, choices = config.synthesis.triples_per_slice, config.synthesis.choices
    pairs = 2 * n * triples if triples else n * (n - 1)
    # Slices are rebuilt in every row. The other rows are reconstructed, synthesised, translated there and back.
    rebuilt = batch * n if choices.weights.self_reconstruction else 0
    return rebuilt + batch / config.synthesis.full_every * (2 * n + 3 * pairs)


def _num_weights(stage: str, config: Config) -> float:
    """Number of trained weights, about."""
    if stage == constants.STRUCTURE:
        coarser = slice_sizes.halvings(config.data.image_size)
        coarsest = (config.data.height >> coarser) * (config.data.width >> coarser)
        dense = _CODE_WEIGHTS * coarsest * config.structure.latent_dim
        filters = min(config.structure.base_filters << coarser, config.structure.max_filters)
        return _STRUCTURE_WEIGHTS * filters**2 + dense
    if stage == constants.SYNTHESIS:
        return 4 * _UNET_WEIGHTS * (4 * config.synthesis.base_filters) ** 2
    unet = _UNET_WEIGHTS * (config.segmentation.base_filters << (config.segmentation.levels - 1)) ** 2
    return unet * (config.data.num_modalities if stage == constants.SEGMENTATION else 1)
