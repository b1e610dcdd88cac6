# SPDX-License-Identifier: MIT
"""Scaled dot product attention and rotary position embedding."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..op import Values
from .arithmetic import Add, Div, Mul, Sub
from .elementary import Tanh
from .elementwise import result_type
from .linear import MatMul
from .reduction import ReduceMax
from .shape import Concat, Iota, Reshape, Transpose, expand_axes, slice_along
from .softmax import Softmax
from .widening import Widened

if TYPE_CHECKING:
    from ..emitter import Emitter
    from ..graph import Value

EXPOSED = ("", "raw", "capped", "biased", "weights")


@dataclass(frozen=True)
class Attention(Widened):
    """``y = softmax(cap(scale * q k^T) + mask) v`` for each head.

    ``cap(s) = softcap * tanh(s / softcap)`` if ``softcap`` is not 0. With ``causal``, query
    ``i`` sees key ``j`` only where ``j <= i + offset``. A query that sees no key gives zeros.
    Narrow floats are computed in float32 and rounded once. ONNX: Attention-25.

    Shapes: q (B, H, L, D), k (B, G, S, D), v (B, G, S, E) with H a multiple of G: neighbouring
        query heads share a key head. The optional mask broadcasts to (B, H, L, S); it is bool
        (false hides a key) or is added to the scores. Results: y (B, H, L, E) and, if
        ``exposed``, (B, H, L, S).

    Attributes:
        scale: factor of the scores; ``None`` for ``1 / sqrt(D)``.
        causal: whether keys after the query are hidden.
        offset: keys before the first query, for ``causal``.
        softcap: bound of the scores before the mask; 0 for none.
        exposed: the second result: ``raw`` scores, ``capped`` ones, with the mask ``biased``,
            or the ``weights`` after the softmax; empty for none.

    References:
        Vaswani et al., Attention is all you need, NIPS 2017. Ainslie et al., GQA, EMNLP 2023.
    """

    name: ClassVar[str] = "attention"
    scale: float | None = None
    causal: bool = False
    offset: int = 0
    softcap: float = 0.0
    exposed: str = ""

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Multiply, mask, normalise, multiply."""
        q, k, v = self._checked(inputs)
        raw = self._scores(emit, q, k)
        capped = self._capped(emit, raw)
        biased = self._biased(emit, capped, inputs[3:])
        weights = self._weights(emit, biased, masked=len(inputs) > 3 or self.offset < 0)
        y = _grouped_product(emit, weights, v)
        shown = dict(zip(EXPOSED[1:], (raw, capped, biased, weights), strict=True))
        return (y, shown[self.exposed]) if self.exposed else (y,)

    def _checked(self, inputs: Values) -> tuple[Value, Value, Value]:
        if len(inputs) not in (3, 4):
            raise self.error(f"expected q, k, v and perhaps a mask, found {len(inputs)} operands")
        if self.exposed not in EXPOSED:
            raise self.error(f"exposed must be one of {EXPOSED}, found {self.exposed!r}")
        q, k, v = inputs[:3]
        shapes = [result_type(x).dims for x in (q, k, v)]
        if any(len(s) != 4 for s in shapes):
            raise self.error(f"q, k and v need 4 axes, found {q.type}, {k.type}, {v.type}")
        (b, h, _, d), (bk, g, s, dk), (bv, gv, sv, _) = shapes
        if (b, b, d, g, s) != (bk, bv, dk, gv, sv) or g == 0 or h % g:
            raise self.error(
                f"q {q.type}, k {k.type} and v {v.type} do not fit: (B, H, L, D), (B, G, S, D) "
                "and (B, G, S, E) with H a multiple of G"
            )
        return q, k, v

    def _scores(self, emit: Emitter, q: Value, k: Value) -> Value:
        size = result_type(q).dims[3]
        scale = 1 / math.sqrt(max(size, 1)) if self.scale is None else self.scale
        scaled = emit(Mul(), q, emit.scalar_like(scale, q))
        return _grouped_product(emit, scaled, emit(Transpose((0, 1, 3, 2)), k))

    def _capped(self, emit: Emitter, scores: Value) -> Value:
        if not self.softcap:
            return scores
        cap = emit.scalar_like(self.softcap, scores)
        return emit(Mul(), emit(Tanh(), emit(Div(), scores, cap)), cap)

    def _biased(self, emit: Emitter, scores: Value, mask: Values) -> Value:
        """Add or select by the mask; selecting keeps an infinite hidden score from being NaN."""
        from .comparison import LessEqual, Select

        hidden = emit.scalar_like(-math.inf, scores)
        if self.causal:
            square = result_type(scores).dims[2:]
            offset = emit.constant(self.offset, "int64")
            last = emit(Add(), emit(Iota("int64", square, 0)), offset)
            seen = emit(LessEqual(), emit(Iota("int64", square, 1)), last)
            scores = emit(Select(), seen, scores, hidden)
        for m in mask:
            if result_type(m).dtype == "bool":
                scores = emit(Select(), m, scores, hidden)
            else:
                scores = emit(Add(), scores, m)
        return scores

    def _weights(self, emit: Emitter, scores: Value, masked: bool) -> Value:
        """Normalise the rows; those that are hidden altogether become zeros, not NaN."""
        from .comparison import Equal, Select

        if not masked or 0 in result_type(scores).dims:
            return emit(Softmax(3), scores)
        largest = expand_axes(emit, emit(ReduceMax((3,)), scores), (3,))
        empty = emit(Equal(), largest, emit.scalar_like(-math.inf, scores))
        zero = emit.scalar_like(0, scores)
        weights = emit(Softmax(3), emit(Select(), empty, zero, scores))
        return emit(Select(), empty, zero, weights)


@dataclass(frozen=True)
class RotaryEmbedding(Widened):
    """Rotates pairs of features by angles that depend on the position.

    ``(a, b) -> (a cos - b sin, a sin + b cos)`` for each pair of the first ``2 R`` features;
    the rest stays. ONNX: RotaryEmbedding-23.

    Shapes: x (B, H, L, D); cosine and sine (B, L, R) or (L, R).

    Attributes:
        interleaved: pairs are neighbours (``2 i``, ``2 i + 1``), otherwise ``i`` and ``R + i``.

    References:
        Su et al., RoFormer, arXiv:2104.09864, 2021.
    """

    name: ClassVar[str] = "rotary_embedding"
    interleaved: bool = False

    def formula(self, emit: Emitter, *inputs: Value) -> Values:
        """Split into pairs, rotate, join."""
        x, cosine, sine = inputs
        count = result_type(cosine).dims[-1]
        (*_, size) = result_type(x).dims
        if result_type(x).rank != 4 or 2 * count > size:
            raise self.error(f"{2 * count} rotated features do not fit {x.type} (B, H, L, D)")
        if result_type(cosine).rank == 3:
            cosine, sine = (expand_axes(emit, angle, (1,)) for angle in (cosine, sine))
        first, second = self._halves(emit, x, count)
        real = emit(Sub(), emit(Mul(), first, cosine), emit(Mul(), second, sine))
        imaginary = emit(Add(), emit(Mul(), first, sine), emit(Mul(), second, cosine))
        rotated = self._joined(emit, real, imaginary)
        if 2 * count == size:
            return (rotated,)
        return (emit(Concat(3), rotated, slice_along(emit, x, 3, 2 * count, size)),)

    def _halves(self, emit: Emitter, x: Value, count: int) -> tuple[Value, Value]:
        if self.interleaved:
            return (
                slice_along(emit, x, 3, 0, 2 * count, 2),
                slice_along(emit, x, 3, 1, 2 * count, 2),
            )
        return slice_along(emit, x, 3, 0, count), slice_along(emit, x, 3, count, 2 * count)

    def _joined(self, emit: Emitter, real: Value, imaginary: Value) -> Value:
        if not self.interleaved:
            return emit(Concat(3), real, imaginary)
        pairs = emit(Concat(4), expand_axes(emit, real, (4,)), expand_axes(emit, imaginary, (4,)))
        (*rows, count, two) = result_type(pairs).dims
        return emit(Reshape((*rows, count * two)), pairs)


def _grouped_product(emit: Emitter, x: Value, y: Value) -> Value:
    """Emit ``x @ y`` where each head of ``y`` serves a group of neighbouring heads of ``x``."""
    (batch, heads, rows, size), groups = result_type(x).dims, result_type(y).dims[1]
    if heads == groups:
        return emit(MatMul(), x, y)
    # The heads of a group read one matrix: they become rows of one product.
    stacked = emit(Reshape((batch, groups, heads // groups * rows, size)), x)
    product = emit(MatMul(), stacked, y)
    return emit(Reshape((batch, heads, rows, result_type(y).dims[3])), product)


__all__ = ["Attention", "RotaryEmbedding"]
