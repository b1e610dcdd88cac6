# SPDX-License-Identifier: MIT
"""NumPy broadcasting of types, and its transpose for gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..op import Op
from ..types import Dim, TensorType, Type

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


def broadcast_dims(op: Op, *shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Return the shape that all ``shapes`` broadcast to.

    Raises:
        OpError: two sizes differ and neither is 1.
    """
    rank = max(map(len, shapes), default=0)
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    result: list[Dim] = []
    for sizes in zip(*padded, strict=True):
        wide = {d for d in sizes if d != 1}
        if len(wide) > 1:
            listed = " and ".join(str(list(s)) for s in shapes)
            raise op.error(f"shapes {listed} do not broadcast")
        result.append(wide.pop() if wide else 1)
    return tuple(result)


def broadcast_types(op: Op, *inputs: Type) -> TensorType:
    """Return the type of an elementwise result of operands of one element type."""
    tensors = op.tensors(inputs)
    dtypes = {t.dtype for t in tensors}
    if len(dtypes) > 1:
        raise op.error(f"element types differ: {' and '.join(t.dtype for t in tensors)}")
    return TensorType(tensors[0].dtype, broadcast_dims(op, *(t.shape for t in tensors)))


def unbroadcast(emit: Emitter, cotangent: Value, like: Value) -> Value:
    """Sum ``cotangent`` over the axes along which ``like`` was broadcast."""
    from .reduction import ReduceSum
    from .shape import Reshape

    assert isinstance(cotangent.type, TensorType)
    assert isinstance(like.type, TensorType)
    if cotangent.type.shape == like.type.shape:
        return cotangent
    extra = cotangent.type.rank - like.type.rank
    padded = (1,) * extra + like.type.dims
    axes = tuple(
        k
        for k, (n, m) in enumerate(zip(cotangent.type.dims, padded, strict=True))
        if k < extra or (m == 1 and n != 1)
    )
    total = emit(ReduceSum(axes), cotangent) if axes else cotangent
    return emit(Reshape(like.type.dims), total)
