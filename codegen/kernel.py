# SPDX-License-Identifier: MIT
"""One fused group to one TIR function: operands, results and scratch buffers as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import tvm
from tvm import te, tirx
from tvm_ffi.structural import structural_map

from ..errors import RanvierError, UnsupportedError
from ..ir.graph import Graph, Node, Value
from ..ir.op import Composite
from ..ir.types import Array, TensorType
from .bindings import bind_lets
from .lowering import Context, Tensor, lowering_of
from .lowering.base import LOWERINGS
from .lowering.storage import compute_dtype, decode, encode, is_rounded, storage_dtype
from .split import is_split, split
from .views import Strides, View

if TYPE_CHECKING:
    from .targets import Target

MAX_ELEMENTS = 2**31 - 1
"""Kernels index with 32 bits."""


@dataclass(frozen=True)
class Kernel:
    """A scheduled TIR function, or its object file, and what the caller must provide.

    Attributes:
        function: a TIR function of raw pointers (operands, results, scratch, in this order)
            and two int32: the number of the calling thread and how many threads there are.
            ``None`` where ``code`` is there.
        scratch: bytes of each scratch buffer, which the caller places in the arena.
        parallel: whether all threads call it and each does its part; else one calls it.
        key: digest of all that decides its code; empty if it is not to be cached.
        code: the ELF object file that defines it, if it has been compiled.
        by_template: whether a template wrote it; otherwise it was lowered.
    """

    function: Any
    scratch: tuple[int, ...]
    parallel: bool = False
    key: str = ""
    code: bytes = b""
    by_template: bool = False


def build_kernel(body: Graph, target: Target, views: Sequence[View] = ()) -> Kernel:
    """Lower and schedule one group for ``target``.

    Args:
        body: the group; every value is a static tensor of numbers.
        target: what it is scheduled for.
        views: how operands and results lie in memory; by themselves if not given.

    Raises:
        UnsupportedError: an op or element type has no lowering.
    """
    operands, results = _lower(body)
    scratch = _intermediates(operands, results)
    function = te.create_prim_func([*operands, *results, *scratch])
    strides = [None if v.is_row_major else v.strides for v in views]
    function = target.schedule(function, strides)
    sizes = tuple(_nbytes(t) for t in scratch)
    return Kernel(with_pointers(function, strides), sizes, is_split(function))


def _lower(body: Graph) -> tuple[list[Any], list[Any]]:
    context = Context()
    env: dict[Value, Tensor] = {}
    operands: list[Any] = []
    for k, value in enumerate(body.inputs):
        operand = context.placeholder(*_storage(value), f"in_{k}")
        operands.append(operand.buffer)
        env[value] = _decoded(context, value, operand)
    for name, array in body.parameters.items():
        value = Value(name, TensorType(_dtype(array), array.shape))
        env[value] = _constant(context, value, array)
    uses = body.uses()
    for node in body.nodes:
        results = _lower_node(context, node, [env[v] for v in node.inputs])
        for value, result in zip(node.outputs, results, strict=True):
            rounded = _rounded(context, value, result)
            env[value] = context.shared(rounded) if uses[value] > 1 else rounded
    return operands, [_stored(context, v, env[v], k) for k, v in enumerate(body.outputs)]


def _lower_node(context: Context, node: Node, operands: list[Tensor]) -> Sequence[Tensor]:
    types = [v.type for v in node.outputs]
    tensors = [t for t in types if isinstance(t, TensorType)]
    if len(tensors) != len(types) or any(t.size > MAX_ELEMENTS for t in tensors):
        raise UnsupportedError(f"{node.op.name}: kernels make tensors of < 2**31 elements")
    if type(node.op) not in LOWERINGS and isinstance(node.op, Composite):
        return _lower_expansion(context, node, operands)
    try:
        return lowering_of(node.op)(context, node.op, operands, tensors)
    except RanvierError:
        raise
    except Exception as error:
        raise UnsupportedError(f"{node.op.name}: lowering failed: {error}") from error


def _lower_expansion(context: Context, node: Node, operands: list[Tensor]) -> Sequence[Tensor]:
    assert isinstance(node.op, Composite)
    body = node.op.expansion(*(v.type for v in node.inputs))
    env = dict(zip(body.inputs, operands, strict=True))
    for name, array in body.parameters.items():
        value = Value(name, TensorType(_dtype(array), array.shape))
        env[value] = _constant(context, value, array)
    for inner in body.nodes:
        results = _lower_node(context, inner, [env[v] for v in inner.inputs])
        for value, result in zip(inner.outputs, results, strict=True):
            env[value] = context.shared(_rounded(context, value, result))
    return [env[v] for v in body.outputs]


def _storage(value: Value) -> tuple[tuple[int, ...], str]:
    assert isinstance(value.type, TensorType)
    return value.type.dims, storage_dtype(value.type.dtype)


def _dtype(array: Array) -> str:
    from ..ir.types import dtype_name

    return dtype_name(array.dtype)


def _decoded(context: Context, value: Value, stored: Tensor) -> Tensor:
    assert isinstance(value.type, TensorType)
    dtype = value.type.dtype
    if not is_rounded(dtype):
        return stored
    decoded = context.lazy(stored.shape, compute_dtype(dtype), lambda *i: decode(dtype, stored(*i)))
    return replace(decoded, stored=stored)


def _constant(context: Context, value: Value, array: Array) -> Tensor:
    """Return a one-element parameter of a group as an immediate."""
    if array.size != 1:
        raise UnsupportedError(
            f"parameter %{value.name} of a group has {array.size} elements, expected one"
        )
    assert isinstance(value.type, TensorType)
    dtype = compute_dtype(value.type.dtype)
    number = array.reshape(()).item() if array.dtype.kind in "biuf" else float(array.reshape(()))
    constant = context.lazy(array.shape, dtype, lambda *_: context.const(number, dtype))
    if not is_rounded(value.type.dtype):
        return constant
    return replace(constant, stored=_encoded(context, value.type.dtype, constant))


def _rounded(context: Context, value: Value, tensor: Tensor) -> Tensor:
    """Round a computed value to what its element type can hold."""
    assert isinstance(value.type, TensorType)
    dtype = value.type.dtype
    if tensor.dtype != compute_dtype(dtype):
        raise UnsupportedError(
            f"lowering of %{value.name} gave {tensor.dtype}, expected {compute_dtype(dtype)}"
        )
    if not is_rounded(dtype):
        return replace(tensor, stored=None)
    if tensor.stored is not None and tensor.stored.dtype == storage_dtype(dtype):
        return tensor
    encoded = _encoded(context, dtype, tensor)
    decoded = context.lazy(tensor.shape, tensor.dtype, lambda *i: decode(dtype, encoded(*i)))
    return replace(decoded, stored=encoded)


def _encoded(context: Context, dtype: str, tensor: Tensor) -> Tensor:
    return context.lazy(tensor.shape, storage_dtype(dtype), lambda *i: encode(dtype, tensor(*i)))


def _stored(context: Context, value: Value, tensor: Tensor, number: int) -> Any:
    """Return the buffer of a result, which has its storage form."""
    form = tensor if tensor.stored is None else tensor.stored
    if form.buffer is not None and isinstance(form.buffer.op, te.ComputeOp | te.ExternOp):
        return form.buffer
    return context.stage(form.shape, form.dtype, form.read, f"out_{number}").buffer


def _intermediates(operands: list[Any], results: list[Any]) -> list[Any]:
    """Return the tensors between operands and results, in order of definition."""
    known = {t.op for t in operands} | {t.op for t in results}
    found: dict[Any, Any] = {}

    def visit(tensor: Any) -> None:
        for source in tensor.op.input_tensors:
            if source.op not in found:
                visit(source)
                if source.op not in known:
                    found[source.op] = None

    for tensor in results:
        visit(tensor)
    direct = {(t.op, t.value_index) for t in results}
    partial = [
        t
        for op in {t.op for t in results}
        for t in _outputs(op)
        if (op, t.value_index) not in direct
    ]
    return [t for op in found for t in _outputs(op)] + partial


def _outputs(op: Any) -> list[Any]:
    return [op.output(k) for k in range(op.num_outputs)]


def _nbytes(tensor: Any) -> int:
    count = 1
    for n in tensor.shape:
        count *= int(n)
    return count * _itemsize(str(tensor.dtype))


def _itemsize(dtype: str) -> int:
    return 1 if dtype == "bool" else int("".join(c for c in dtype if c.isdigit())) // 8


def with_pointers(function: Any, strides: Sequence[Strides] = ()) -> Any:
    """Return the function taking raw pointers instead of DLTensors, for direct calls.

    Two int32 arguments follow the pointers: the number of the calling thread, and how many
    threads call the function.

    Args:
        function: operands, results and scratch as buffers.
        strides: of the first buffers, in elements; ``None`` for those that lie by themselves.
    """
    buffers = list(function.params)
    body = function.body
    known: dict[Any, Any] = {}
    for k, wanted in enumerate(strides):
        if wanted is not None:
            old = buffers[k]
            steps = [tirx.const(s, "int32") for s in wanted]
            buffers[k] = tirx.decl_buffer(old.shape, old.ty.dtype, old.name, strides=steps)
            known[old] = buffers[k]
    if known:
        body = structural_map(body, (tirx.Buffer, lambda b: known.get(b, b)))
    pointers = [tirx.Var(f"p{k}", tvm.ir.PointerType(p.ty.dtype)) for k, p in enumerate(buffers)]
    team = [tirx.Var(name, tvm.ir.PrimType("int32")) for name in ("thread", "threads")]
    declared = [tirx.DeclBuffer(p, data=h) for p, h in zip(buffers, pointers, strict=True)]
    body = tirx.SeqStmt([*declared, split(bind_lets(body), *team)])
    return (
        tirx.PrimFunc([*pointers, *team], body, ret_type=function.ret_type)
        .with_attr("tirx.noalias", True)
        .with_attr("s_tir", True)
    )
