"""Counts the floating-point operations and bytes of training steps.

The counts are of the step's own graph, with its gradients and without what
nobody reads. Nothing is timed.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import tensorflow as tf

from benchmarks import stage_step
from mmsynth_tf import constants
from mmsynth_tf.configs import Config
from mmsynth_tf.models.stage import StageModel
from mmsynth_tf.storage.records import Record

# NVIDIA's data sheet of the H100 SXM: TF32 on tensor cores without sparsity, and memory.
_H100_FLOPS, _H100_BYTES = 494.7e12, 3.35e12  # A second.

# They move no data, or none that grows with the batch.
_FREE = {
    "Const",
    "ExpandDims",
    "Identity",
    "IdentityN",
    "NoOp",
    "Placeholder",
    "PreventGradient",
    "ReadVariableOp",
    "Reshape",
    "Shape",
    "ShapeN",
    "Squeeze",
    "StopGradient",
}
# Adam reads a weight, its gradient and two moments, and writes all but the gradient.
_OPTIMIZER_ACCESSES = 7


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Shapes of one convolution: input [B, H, W, C], filter [h, w, C, D], output [B, H', W', D]."""

    inputs: tuple[int, ...]
    filters: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def flops(self) -> int:
        return 2 * math.prod(self.outputs) * math.prod(self.filters[:3])


@dataclasses.dataclass(frozen=True)
class Work:
    """What one step does.

    Attributes:
      flops: of convolutions and matrix products, a multiplication and an addition each.
      least_bytes: read and written if everything else is fused into them, with the optimizer's.
      unfused_bytes: read and written if no operation is fused with another.
      launches: operations that move data, each at least one kernel on a GPU if nothing is fused.
      convolutions: the forward ones.
    """

    flops: int
    least_bytes: int
    unfused_bytes: int
    launches: int
    convolutions: tuple[Convolution, ...]


def run(config: Config) -> Iterator[Record]:
    """What a step of each stage does."""
    phases = [(stage, False) for stage in constants.STAGES]
    if config.synthesis.pretraining_steps:
        phases.insert(-1, (constants.SYNTHESIS, True))
    for stage, in_pretraining in phases:
        work = of_step(stage, config, in_pretraining)
        yield {
            "stage": f"{stage}, pretraining" if in_pretraining else stage,
            "batch_size": getattr(config, stage).batch_size,
            "gflop": work.flops / 1e9,
            "least_gigabytes": work.least_bytes / 1e9,
            "unfused_gigabytes": work.unfused_bytes / 1e9,
            "launches": work.launches,
            "h100_milliseconds_at_least": 1e3 * max(work.flops / _H100_FLOPS, work.least_bytes / _H100_BYTES),
            "h100_milliseconds_unfused": 1e3 * max(work.flops / _H100_FLOPS, work.unfused_bytes / _H100_BYTES),
        }


def of_step(stage: str, config: Config, in_pretraining: bool = False) -> Work:
    """Traces and counts a stage's step, one of its pretraining if asked for; nothing is computed."""
    model, batch = stage_step.model(stage, config), stage_step.batches(stage, config).element_spec
    model.in_pretraining = in_pretraining
    return of_graph(tf.function(model.train_step, autograph=False).get_concrete_function(batch).graph, model)


def flops(function: Callable[..., object], **inputs: tf.TensorSpec) -> int:
    """Floating-point operations of a function of tensors of known shapes."""
    graph = tf.function(function, autograph=False).get_concrete_function(**inputs).graph
    return sum(map(_flops, _needed(graph)))


def of_graph(graph: tf.Graph, model: StageModel) -> Work:
    """Counts a traced step of a model."""
    operations = list(_needed(graph))
    products, moving = [op for op in operations if _flops(op)], [op for op in operations if op.type not in _FREE]
    weights = sum(math.prod(v.shape) for group in model.groups.values() for v in group.variables)
    return Work(
        flops=sum(map(_flops, products)),
        least_bytes=sum(map(_bytes, products)) + 4 * _OPTIMIZER_ACCESSES * weights,
        unfused_bytes=sum(map(_bytes, moving)),
        launches=len(moving),
        convolutions=tuple(_convolution(op) for op in operations if op.type == "Conv2D"),
    )


def _needed(graph: tf.Graph) -> Iterator[tf.Operation]:
    """The operations on which a result or a change of a variable depends."""
    waiting = [tensor.op for tensor in graph.outputs] + list(graph.control_outputs)
    seen = set()
    while waiting:
        op = waiting.pop()
        if op.name not in seen:
            seen.add(op.name)
            yield op
            waiting += [tensor.op for tensor in op.inputs] + list(op.control_inputs)


def _convolution(op: tf.Operation) -> Convolution:
    """Shapes of a convolution, or of the one whose gradient an operation computes."""
    first, second, *rest = (*op.inputs, *op.outputs)
    if op.type == "Conv2D":
        shapes = first.shape, second.shape, rest[0].shape
    elif op.type == "Conv2DBackpropInput":
        shapes = rest[1].shape, second.shape, rest[0].shape
    else:
        shapes = first.shape, rest[1].shape, rest[0].shape
    return Convolution(*map(tuple, shapes))


def _flops(op: tf.Operation) -> int:
    if op.type in ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"):
        return _convolution(op).flops
    if op.type in ("MatMul", "BatchMatMulV2"):
        columns = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
        return 2 * math.prod(op.outputs[0].shape) * op.inputs[0].shape[-2 if columns else -1]
    return 0


def _bytes(op: tf.Operation) -> int:
    if op.type == "ResourceApplyAdam":
        *_, gradient = op.inputs
        return _OPTIMIZER_ACCESSES * math.prod(gradient.shape) * gradient.dtype.size
    tensors = [t for t in (*op.inputs, *op.outputs) if t.shape.is_fully_defined() and t.dtype != tf.resource]
    return sum(math.prod(t.shape) * t.dtype.size for t in tensors)
