# SPDX-License-Identifier: MIT
"""Determinant and inverse of square matrices, by elimination with pivoting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..op import Arrays, Cotangents, Kind, Op, Types, Values
from ..types import FLOATS, TensorType, Type
from .arithmetic import Mul, Neg
from .elementwise import result_type
from .linear import MatMul
from .reduction import in_64_bits
from .shape import Transpose, expand_axes

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value


class SquareOp(Op):
    """Base of functions of the square matrices in the last two axes."""

    kind: ClassVar[Kind] = Kind.OPAQUE

    def square(self, inputs: Types) -> TensorType:
        """Return the operand's type after checking it."""
        (x,) = self.tensors(inputs, 1)
        if x.rank < 2 or x.shape[-1] != x.shape[-2] or x.dtype not in FLOATS:
            raise self.error(f"needs square matrices of floats in the last two axes, found {x}")
        return x

    def flops(self, *inputs: Type) -> int:
        """Two thirds of a cube per matrix, as elimination takes."""
        x = self.square(inputs)
        return 2 * x.size * x.dims[-1] // 3


@dataclass(frozen=True)
class Det(SquareOp):
    """Determinant of the matrices in the last two axes; 1 for matrices without elements.

    Gradient: ``dx = dy * y * inverse(x)^T``, so the matrices must be invertible where it is
    taken. ONNX: Det-22.

    References:
        Golub and Van Loan, Matrix Computations, 4th edition, 3.4 (partial pivoting).
    """

    name: ClassVar[str] = "det"

    def infer(self, *inputs: Type) -> Types:
        """Return the leading axes."""
        x = self.square(inputs)
        return (TensorType(x.dtype, x.shape[:-2]),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Compute in float64."""
        (x,) = inputs
        return (np.asarray(np.linalg.det(in_64_bits(x))).astype(x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Scale the transposed inverse."""
        (dy,) = cotangents
        if dy is None:
            return (None,)
        rank = result_type(inputs[0]).rank
        scale = expand_axes(emit, emit(Mul(), dy, outputs[0]), (rank - 2, rank - 1))
        return (emit(Mul(), scale, _transposed(emit, emit(Inverse(), inputs[0]))),)


@dataclass(frozen=True)
class Inverse(SquareOp):
    """Inverse of the matrices in the last two axes; NaN or infinite where there is none.

    Gradient: ``dx = -y^T dy y^T``.

    References:
        Golub and Van Loan, Matrix Computations, 4th edition, 3.4 (partial pivoting).
    """

    name: ClassVar[str] = "inverse"

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's type."""
        return (self.square(inputs),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Compute in float64."""
        (x,) = inputs
        wide = in_64_bits(x)
        singular = np.linalg.det(wide)[..., None, None] == 0
        safe = np.where(singular, np.eye(x.shape[-1]), wide)
        return (np.where(singular, np.nan, np.linalg.inv(safe)).astype(x.dtype),)

    def vjp(
        self, emit: Emitter, inputs: Values, outputs: Values, cotangents: Cotangents
    ) -> Cotangents:
        """Multiply by the transposed inverse from both sides."""
        (dy,) = cotangents
        if dy is None:
            return (None,)
        turned = _transposed(emit, outputs[0])
        product = emit(MatMul(), emit(MatMul(), turned, dy), turned)
        return (emit(Neg(), product),)


def _transposed(emit: Emitter, x: Value) -> Value:
    """Emit ``x`` with its last two axes exchanged."""
    rank = result_type(x).rank
    return emit(Transpose((*range(rank - 2), rank - 1, rank - 2)), x)


__all__ = ["Det", "Inverse"]
