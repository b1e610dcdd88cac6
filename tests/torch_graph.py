# SPDX-License-Identifier: MIT
"""Canonical graphs in torch, whose own functions and autograd are an independent reference.

Floats of every width become float64, so a graph computes here what it means, not how it rounds.
Ops that torch has a function for are mapped to it; composites without one are evaluated by their
expansion. Where a float32 run *decided* something (which side of a kink an operand lies on, which
element of a window is the largest), that decision can be given: with other decisions gradients
differ by percents, however precise both are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest

from ranvier.ir import Array, Composite, Graph, Node, Op, TensorType, Value, ops
from ranvier.ir.ops.window import WindowSum
from ranvier.ir.types import FLOATS

torch = pytest.importorskip("torch")
F = torch.nn.functional
torch.set_num_threads(1)  # two test processes share two cores, see conftest.py

Tensors: TypeAlias = Sequence[Any]
Rule: TypeAlias = Callable[..., Any]

Decided: TypeAlias = Callable[[Any, Tensors, Tensors], Any]
"""``decided(op, operands, recorded)`` returns the result under the recorded decisions."""

RULES: dict[type[Op], Rule] = {}
"""By op: ``rule(op, *operands)`` returns the result, or a tuple of them."""


def evaluate(
    graph: Graph, inputs: Sequence[Any], recorded: Mapping[str, Tensors] | None = None
) -> list[Any]:
    """Return the outputs of ``graph`` as tensors.

    Args:
        graph: canonical.
        inputs: arrays, or tensors that may ask for gradients.
        recorded: what the run that decided gave for the values of :func:`decisions`, by the
            name of the node's first result.
    """
    env = {name: tensor_of(array) for name, array in graph.parameters.items()}
    env.update({v.name: tensor_of(x) for v, x in zip(graph.inputs, inputs, strict=True)})
    for node in graph.nodes:
        results = _results(node, [env[v.name] for v in node.inputs], recorded or {})
        env.update({v.name: y for v, y in zip(node.outputs, results, strict=True)})
    return [env[v.name] for v in graph.outputs]


def tensor_of(array: Array | Any) -> Any:
    """Return a tensor whose floats are float64."""
    if isinstance(array, torch.Tensor):
        return array
    if array.dtype.kind not in "biu":
        return torch.from_numpy(array.astype(np.float64))
    wide = array.astype(np.int64) if array.dtype.kind == "u" and array.itemsize > 1 else array
    return torch.from_numpy(wide.copy())


def _results(node: Node, operands: Tensors, recorded: Mapping[str, Tensors]) -> Tensors:
    name = node.outputs[0].name
    if name in recorded:
        decided: Decided = {**_BY_RESULT, **_BY_OPERANDS}[type(node.op)]
        results: Any = decided(node.op, operands, recorded[name])
    else:
        compute: Rule = RULES.get(type(node.op), _no_rule)
        results = compute(node.op, *operands)
    if results is NotImplemented:
        results = _expanded(node, operands)
    return results if isinstance(results, tuple) else (results,)


def _no_rule(op: Op, *operands: Any) -> Any:
    return NotImplemented


def _expanded(node: Node, operands: Tensors) -> tuple[Any, ...]:
    assert isinstance(node.op, Composite), f"torch_graph has no rule for {node.op.name}"
    return tuple(evaluate(node.op.expansion(*(v.type for v in node.inputs)), operands))


def rule(*kinds: type[Op]) -> Callable[[Rule], Rule]:
    """Register how torch computes these ops."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register


# Elementwise

_PLAIN: dict[type[Op], Rule] = {
    ops.Abs: torch.abs, ops.Add: torch.add, ops.And: torch.logical_and, ops.Ceil: torch.ceil,
    ops.Cos: torch.cos, ops.Equal: torch.eq, ops.Erf: torch.erf, ops.Exp: torch.exp,
    ops.Expm1: torch.expm1, ops.Floor: torch.floor, ops.Greater: torch.gt,
    ops.GreaterEqual: torch.ge, ops.Less: torch.lt, ops.LessEqual: torch.le, ops.Log: torch.log,
    ops.Log1p: torch.log1p, ops.Maximum: torch.maximum, ops.Minimum: torch.minimum,
    ops.Mod: torch.remainder, ops.Mul: torch.mul, ops.Neg: torch.neg, ops.Not: torch.logical_not,
    ops.Or: torch.logical_or, ops.Pow: torch.pow, ops.Reciprocal: torch.reciprocal,
    ops.Relu: F.relu, ops.Rsqrt: torch.rsqrt, ops.Select: torch.where,
    ops.Sigmoid: torch.sigmoid, ops.Sin: torch.sin, ops.Softsign: F.softsign,
    ops.Sqrt: torch.sqrt, ops.Sub: torch.sub, ops.Tanh: torch.tanh, ops.Xor: torch.logical_xor,
    ops.HardSwish: F.hardswish, ops.Mish: F.mish, ops.Selu: F.selu,
}  # fmt: skip
for _op, _function in _PLAIN.items():
    RULES[_op] = lambda op, *operands, function=_function: function(*operands)

RULES[ops.LeakyRelu] = lambda op, x: F.leaky_relu(x, op.alpha)
RULES[ops.Elu] = lambda op, x: F.elu(x, op.alpha)
RULES[ops.Gelu] = lambda op, x: F.gelu(x, approximate=op.approximate)
RULES[ops.Softplus] = lambda op, x: torch.logaddexp(x, torch.zeros_like(x))
RULES[ops.ThresholdedRelu] = lambda op, x: F.threshold(x, op.alpha, 0.0)


@rule(ops.Swish)
def _swish(op: ops.Swish, x: Any) -> Any:
    return F.silu(x) if op.alpha == 1 else NotImplemented


@rule(ops.PRelu)
def _prelu(op: ops.PRelu, x: Any, slope: Any) -> Any:
    aligned = (1,) * (x.dim() - slope.dim()) + tuple(slope.shape)
    if slope.numel() == 1 or (aligned[:1] == (1,) and slope.numel() == aligned[1]):
        return F.prelu(x, slope.reshape(-1))
    return NotImplemented


@rule(ops.Div)
def _div(op: ops.Div, x: Any, y: Any) -> Any:
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


@rule(ops.Cast)
def _cast(op: ops.Cast, x: Any) -> Any:
    return x.to(torch.float64 if op.dtype in FLOATS else getattr(torch, op.dtype))


# Movement

RULES[ops.Reshape] = lambda op, x: x.reshape(op.shape)
RULES[ops.Transpose] = lambda op, x: x.permute(op.permutation)
RULES[ops.BroadcastTo] = lambda op, x: x.expand(op.shape)
RULES[ops.Concat] = lambda op, *xs: torch.cat(xs, op.axis)
RULES[ops.Reverse] = lambda op, x: torch.flip(x, op.axes)
RULES[ops.Gather] = lambda op, x, at: _taken(x, op.axis, at)
RULES[ops.GatherElements] = lambda op, x, at: torch.gather(
    x, op.axis, torch.where(at < 0, at + x.shape[op.axis], at)
)
RULES[ops.InRange] = lambda op, at: ((at >= op.low) & (at < op.high)).all()


def _taken(x: Any, axis: int, at: Any) -> Any:
    at = torch.where(at < 0, at + x.shape[axis], at)
    if axis == 0 and x.dim() == 2:
        return F.embedding(at, x)
    shape = (*x.shape[:axis], *at.shape, *x.shape[axis + 1 :])
    return torch.index_select(x, axis, at.reshape(-1)).reshape(shape)


@rule(ops.GatherND)
def _gather_nd(op: ops.GatherND, x: Any, at: Any) -> Any:
    sizes = torch.tensor(x.shape[op.batch_dims : op.batch_dims + at.shape[-1]])
    at = torch.where(at < 0, at + sizes, at)
    extra = at.dim() - 1 - op.batch_dims
    batch = [
        torch.arange(n).reshape([-1 if j == k else 1 for j in range(op.batch_dims + extra)])
        for k, n in enumerate(x.shape[: op.batch_dims])
    ]
    places = (*batch, *at.unbind(-1))
    return x[places]


@rule(ops.Slice)
def _slice(op: ops.Slice, x: Any) -> Any:
    for axis, taken in enumerate(op.positions()):
        if taken != range(x.shape[axis]):
            x = torch.index_select(x, axis, torch.tensor(list(taken), dtype=torch.int64))
    return x


@rule(ops.Pad)
def _pad(op: ops.Pad, x: Any) -> Any:
    if op.mode == "constant":
        return pad(x, op.low, op.high, op.value)
    for axis, size in enumerate(x.shape):
        x = torch.index_select(x, axis, torch.from_numpy(op.sources(axis, size)))
    return x


def pad(x: Any, low: Sequence[int], high: Sequence[int], value: Any = 0.0) -> Any:
    """Pad the last axes, as many as ``low`` and ``high`` have entries; negative widths crop."""
    widths = [n for pair in zip(reversed(low), reversed(high), strict=True) for n in pair]
    return F.pad(x, widths, value=value) if any(widths) else x


@rule(ops.Iota)
def _iota(op: ops.Iota) -> Any:
    dtype = torch.float64 if op.dtype in FLOATS else getattr(torch, op.dtype)
    ones = [-1 if k == op.axis else 1 for k in range(len(op.shape))]
    return torch.arange(op.shape[op.axis], dtype=dtype).reshape(ones).expand(op.shape)


@rule(ops.RowBits, ops.RowUniform, ops.RowNormal)
def _rows(op: Op, keys: Any) -> Any:
    (drawn,) = op.evaluate(keys.numpy().astype(np.uint32))
    return tensor_of(drawn)


# Reductions, sorting


def _over_axes(function: Rule) -> Rule:
    return lambda op, x: function(x, op.axes) if op.axes else x


RULES[ops.ReduceSum] = _over_axes(torch.sum)
RULES[ops.ReduceMean] = _over_axes(torch.mean)
RULES[ops.ReduceMax] = _over_axes(torch.amax)
RULES[ops.ReduceMin] = _over_axes(torch.amin)
RULES[ops.ReduceLogSumExp] = _over_axes(torch.logsumexp)
RULES[ops.ArgMax] = lambda op, x: torch.argmax(x, op.axis)
RULES[ops.Softmax] = lambda op, x: torch.softmax(x, op.axis)
RULES[ops.LogSoftmax] = lambda op, x: torch.log_softmax(x, op.axis)
RULES[ops.SoftmaxCrossEntropy] = lambda op, x, labels: (
    NotImplemented
    if op.logarithms or op.ignore_index is not None
    else F.cross_entropy(x, labels, reduction=op.reduction)
)
RULES[ops.TopK] = lambda op, x: tuple(torch.topk(x, op.k, op.axis, op.largest, op.sorted))


@rule(ops.CumSum)
def _cumsum(op: ops.CumSum, x: Any) -> Any:
    if op.exclusive or op.reverse:
        return NotImplemented
    return torch.cumsum(x, op.axis)


# Products, windows

RULES[ops.MatMul] = lambda op, x, y: torch.matmul(x, y)
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


@rule(ops.Conv)
def _conv(op: ops.Conv, x: Any, w: Any) -> Any:
    x = pad(_spread(x, op.input_dilation), op.low, op.high)
    return _CONV[x.dim() - 2](x, w, None, op.strides, 0, op.dilation, op.groups)


def _spread(x: Any, steps: Sequence[int]) -> Any:
    """Put zeros between the elements of the spatial axes."""
    if max(steps) == 1:
        return x
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], steps, strict=True)]
    wide = x.new_zeros((*x.shape[:2], *sizes))
    places = (..., *(slice(None, None, s) for s in steps))
    wide[places] = x
    return wide


@rule(ops.ConvTranspose)
def _conv_transpose(op: ops.ConvTranspose, x: Any, w: Any) -> Any:
    whole = _CONV_TRANSPOSE[x.dim() - 2](x, w, None, op.strides, 0, 0, op.groups, op.dilation)
    return pad(whole, [-n for n in op.low], [-n for n in op.high])


@rule(ops.MaxPool)
def _max_pool(op: ops.MaxPool, x: Any) -> Any:
    x = pad(x, op.low, op.high, -math.inf)
    return _MAX_POOL[x.dim() - 2](x, op.window, op.strides, 0, op.dilation)


@rule(ops.AveragePool)
def _average_pool(op: ops.AveragePool, x: Any) -> Any:
    if op.low != op.high or any(op.excess) or max(op.dilation) > 1 or min(op.low) < 0:
        return NotImplemented
    function = _AVERAGE_POOL[x.dim() - 2]
    return function(x, op.window, op.strides, op.low, False, op.count_include_pad)


@rule(WindowSum)
def _window_sum(op: WindowSum, x: Any) -> Any:
    channels = x.shape[1]
    ones = x.new_ones((channels, 1, *op.window))
    padded = pad(_spread(x, op.input_dilation), op.low, op.high)
    return _CONV[x.dim() - 2](padded, ones, None, op.strides, 0, op.dilation, channels)


@rule(ops.Resize)
def _resize(op: ops.Resize, x: Any) -> Any:
    spatial = op.axes == tuple(range(2, x.dim()))
    exact = all(
        math.isclose(s * n, m) for s, n, m in zip(op.scales, x.shape[2:], op.sizes, strict=False)
    )
    if spatial and exact and not op.antialias and not op.exclude_outside:
        if (op.mode, op.coordinates, op.rounding) == ("nearest", "asymmetric", "floor"):
            return F.interpolate(x, op.sizes, mode="nearest")
        aligned = op.coordinates == "align_corners"
        if op.mode == "linear" and (aligned or op.coordinates.endswith("half_pixel")):
            mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[x.dim() - 2]
            return F.interpolate(x, op.sizes, mode=mode, align_corners=aligned)
    for axis, how in zip(op.axes, op.maps(tuple(x.shape)), strict=True):
        table = how.table()
        matrix = x.new_zeros((how.size, how.length))
        rows = torch.arange(how.size)[:, None].expand(table.indices.shape)
        weights = torch.from_numpy(table.weights)
        matrix.index_put_((rows, torch.from_numpy(table.indices)), weights, accumulate=True)
        x = torch.movedim(torch.movedim(x, axis, -1) @ matrix.T, -1, axis)
    return x


# Normalisation, attention


@rule(ops.BatchNormTraining)
def _batch_norm_training(
    op: ops.BatchNormTraining, x: Any, scale: Any, bias: Any, mean: Any, variance: Any
) -> tuple[Any, ...]:
    # torch's running variance is that of a sample, so the statistics are blended here.
    y = F.batch_norm(x, None, None, scale, bias, training=True, eps=op.epsilon)
    axes = [k for k in range(x.dim()) if k != 1]
    new = torch.mean(x, axes), torch.var(x, axes, correction=0)
    blended = [
        op.momentum * a + (1 - op.momentum) * b for a, b in zip((mean, variance), new, strict=True)
    ]
    return (y, *blended)


@rule(ops.BatchNorm)
def _batch_norm(op: ops.BatchNorm, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    return F.batch_norm(x, mean, variance, scale, bias, eps=op.epsilon)


RULES[ops.InstanceNorm] = lambda op, x, scale, bias: F.instance_norm(
    x, weight=scale, bias=bias, eps=op.epsilon
)
RULES[ops.GroupNorm] = lambda op, x, scale, bias: F.group_norm(
    x, op.groups, scale, bias, op.epsilon
)


@rule(ops.LayerNorm)
def _layer_norm(op: ops.LayerNorm, x: Any, scale: Any, bias: Any = None) -> Any:
    rows = x.shape[op.axis :]
    if op.statistics or scale.shape != rows or (bias is not None and bias.shape != rows):
        return NotImplemented
    return F.layer_norm(x, rows, scale, bias, op.epsilon)


@rule(ops.Attention)
def _attention(op: ops.Attention, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
    if op.softcap or op.exposed or (op.causal and (mask is not None or op.offset)):
        return NotImplemented
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, mask, is_causal=op.causal, scale=op.scale, enable_gqa=grouped
    )


# Recurrence, control flow


def _is_plain(op: ops.Lstm | ops.Gru) -> bool:
    standard = op.activations == type(op)().activations and not op.alpha and not op.beta
    return standard and not op.clip and not op.masked


def _reordered(weights: Tensors, order: Sequence[int]) -> list[Any]:
    """Bring the gates' rows of each array into another order."""
    return [torch.cat([w.chunk(len(order))[k] for k in order]) for w in weights]


@rule(ops.Lstm)
def _lstm(op: ops.Lstm, x: Any, w: Any, r: Any, b: Any, h: Any, c: Any, *rest: Any) -> Any:
    if rest or not _is_plain(op) or op.peephole or op.coupled:
        return NotImplemented
    weights = _reordered((w, r, *b.chunk(2)), (0, 2, 3, 1))  # i, o, f, g to i, f, g, o
    y, hn, cn = torch.lstm(x, (h[None], c[None]), weights, True, 1, 0.0, True, False, False)
    return y, hn[0], cn[0]


@rule(ops.Gru)
def _gru(op: ops.Gru, x: Any, w: Any, r: Any, b: Any, h: Any, *rest: Any) -> Any:
    if rest or not _is_plain(op) or not op.linear_before_reset:
        return NotImplemented
    weights = _reordered((w, r, *b.chunk(2)), (1, 0, 2))  # z, r, n to r, z, n
    y, hn = torch.gru(x, h[None], weights, True, 1, 0.0, True, False, False)
    return y, hn[0]


@rule(ops.Scan)
def _scan(op: ops.Scan, *operands: Any) -> tuple[Any, ...]:
    split = op.num_carried + op.num_scanned
    states, scanned = list(operands[: op.num_carried]), operands[op.num_carried : split]
    columns: list[list[Any]] = [[] for _ in op.body.outputs[op.num_carried :]]
    for t in range(op.length):
        step = [*states, *(x[t] for x in scanned), *operands[split:]]
        results = evaluate(op.body, step)
        states = results[: op.num_carried]
        for column, y in zip(columns, results[op.num_carried :], strict=True):
            column.append(y)
    return (*states, *(torch.stack(column) for column in columns))


@rule(ops.Branch)
def _branch(op: ops.Branch, condition: Any, *captured: Any) -> tuple[Any, ...]:
    return tuple(evaluate(op.then_body if condition else op.else_body, captured))


@rule(ops.WhileLoop)
def _while_loop(op: ops.WhileLoop, condition: Any, *operands: Any) -> tuple[Any, ...]:
    count = len(op.body.outputs) - 1
    states, captured = list(operands[:count]), operands[count:]
    for trip in itertools.count():
        if not condition or trip == op.max_trips:
            break
        condition, *states = evaluate(op.body, (torch.tensor(trip), *states, *captured))
    return tuple(states)


# Decisions of another run


def _larger(x: Any, y: Any) -> Any:
    """1 where ``x`` is larger, a half where both are equal."""
    return torch.where(x == y, 0.5, (x > y).to(torch.float64))


def _mixed(share: Any, x: Any, y: Any) -> Any:
    return share * x + (1 - share) * y


def _decided_max_pool(op: ops.MaxPool, operands: Tensors, recorded: Tensors) -> Any:
    seen = pad(recorded[0], op.low, op.high, -math.inf)
    function = _MAX_POOL[seen.dim() - 2]
    _, at = function(seen, op.window, op.strides, 0, op.dilation, return_indices=True)
    x = pad(operands[0], op.low, op.high)
    return torch.gather(x.flatten(2), 2, at.flatten(2)).reshape(at.shape)


def _decided_extreme(
    op: ops.ReduceMax | ops.ReduceMin, operands: Tensors, recorded: Tensors
) -> Any:
    function = torch.amax if type(op) is ops.ReduceMax else torch.amin
    chosen = (recorded[0] == function(recorded[0], op.axes, keepdim=True)).to(torch.float64)
    share = chosen / chosen.sum(op.axes, keepdim=True)
    return (operands[0] * share).sum(op.axes)


def _decided_top_k(op: ops.TopK, operands: Tensors, recorded: Tensors) -> Any:
    _, at = RULES[ops.TopK](op, recorded[0])
    return torch.gather(operands[0], op.axis, at), at


# Of rectifiers the result is recorded, which tells as much as the operand and is kept for the
# backward computation anyway, so that recording changes nothing about how kernels are fused.
_BY_RESULT: dict[type[Op], Decided] = {
    ops.Relu: lambda op, xs, rs: torch.where(rs[0] > 0, xs[0], 0.0),
    ops.LeakyRelu: lambda op, xs, rs: torch.where(rs[0] < 0, op.alpha * xs[0], xs[0]),
}
_BY_OPERANDS: dict[type[Op], Decided] = {
    ops.PRelu: lambda op, xs, rs: torch.where(rs[0] < 0, xs[1] * xs[0], xs[0]),
    ops.Abs: lambda op, xs, rs: xs[0] * torch.sign(rs[0]),
    ops.Maximum: lambda op, xs, rs: _mixed(_larger(rs[0], rs[1]), xs[0], xs[1]),
    ops.Minimum: lambda op, xs, rs: _mixed(_larger(rs[1], rs[0]), xs[0], xs[1]),
    ops.MaxPool: _decided_max_pool,
    ops.ReduceMax: _decided_extreme,
    ops.ReduceMin: _decided_extreme,
    ops.TopK: _decided_top_k,
    **dict.fromkeys(
        (ops.ArgMax, ops.Equal, ops.Greater, ops.GreaterEqual, ops.Less, ops.LessEqual),
        lambda op, xs, rs: RULES[type(op)](op, *rs),
    ),
}


def decisions(graph: Graph) -> dict[str, tuple[Value, ...]]:
    """Return what tells how each node with kinks decided, by the name of its first result."""
    found: dict[str, tuple[Value, ...]] = {}
    for node in graph.nodes:
        first = node.inputs[0].type if node.inputs else None
        if isinstance(first, TensorType) and first.dtype in FLOATS:
            if type(node.op) in _BY_RESULT:
                found[node.outputs[0].name] = node.outputs
            elif type(node.op) in _BY_OPERANDS:
                found[node.outputs[0].name] = node.inputs
    return found
