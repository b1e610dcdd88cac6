# SPDX-License-Identifier: MIT
"""First weights by the size of layers: Glorot, He, LeCun; orthogonal matrices, identities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...ir import Array, TensorType, numpy_dtype
from .weights import Fans, Initialiser, Normal, Uniform, refuse

Mode = Literal["in", "out", "average"]
Distribution = Literal["normal", "truncated", "uniform"]
_MODES, _DISTRIBUTIONS = ("in", "out", "average"), ("normal", "truncated", "uniform")

_OF_TRUNCATED = 0.87962566103423978
"""Standard deviation of the normal distribution cut off at two of its own."""


@dataclass(frozen=True)
class VarianceScaling(Initialiser):
    """Weights of mean 0 and variance ``scale / fan``.

    Attributes:
        scale: of the variance.
        mode: the fan: ``in``, ``out``, or the ``average`` of both.
        distribution: ``normal``; ``truncated``, normal at most two deviations from 0, the
            deviation enlarged to make up for that; or ``uniform``.

    >>> VarianceScaling(2.0).fitted(Fans(50, 10))
    Normal(mean=0.0, deviation=0.2, bound=0.0)

    Raises:
        LayerError: an option is unknown or the scale not positive.
    """

    scale: float = 1.0
    mode: Mode = "in"
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise refuse("VarianceScaling", f"scale={self.scale} must be a positive number")
        if self.mode not in _MODES:
            known = ", ".join(_MODES)
            raise refuse("VarianceScaling", f"mode={self.mode!r} must be one of {known}")
        if self.distribution not in _DISTRIBUTIONS:
            known = ", ".join(_DISTRIBUTIONS)
            found = f"distribution={self.distribution!r}"
            raise refuse("VarianceScaling", f"{found} must be one of {known}")

    def fitted(self, fans: Fans) -> Initialiser:
        """Return the distribution for weights with these fans."""
        counts = {"in": fans.into, "out": fans.out, "average": (fans.into + fans.out) / 2}
        variance = self.scale / counts[self.mode]
        if self.distribution == "uniform":
            limit = math.sqrt(3 * variance)
            return Uniform(-limit, limit)
        if self.distribution == "truncated":
            return Normal(0.0, math.sqrt(variance) / _OF_TRUNCATED, 2.0)
        return Normal(0.0, math.sqrt(variance))

    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Refuse: fans are a layer's.

        Raises:
            LayerError: always.
        """
        raise refuse(f"parameter '{name}'", "belongs to no layer with fans; give it a deviation")


def glorot_normal() -> VarianceScaling:
    """Return ``variance = 2 / (fan in + fan out)``, normal (Xavier).

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural
        networks, AISTATS 2010.
    """
    return VarianceScaling(1.0, "average")


def glorot_uniform() -> VarianceScaling:
    """Return ``variance = 2 / (fan in + fan out)``, uniform (Xavier)."""
    return VarianceScaling(1.0, "average", "uniform")


def he_normal(mode: Mode = "in") -> VarianceScaling:
    """Return ``variance = 2 / fan``, normal (Kaiming): for operands behind rectifiers.

    References:
        He et al., Delving deep into rectifiers, ICCV 2015.
    """
    return VarianceScaling(2.0, mode)


def he_uniform(mode: Mode = "in") -> VarianceScaling:
    """Return ``variance = 2 / fan``, uniform (Kaiming)."""
    return VarianceScaling(2.0, mode, "uniform")


def lecun_normal() -> VarianceScaling:
    """Return ``variance = 1 / fan in``, normal.

    References:
        LeCun, Bottou, Orr, Müller, Efficient backprop, 1998.
    """
    return VarianceScaling(1.0)


def lecun_uniform() -> VarianceScaling:
    """Return ``variance = 1 / fan in``, uniform."""
    return VarianceScaling(1.0, "in", "uniform")


@dataclass(frozen=True)
class Orthogonal(Initialiser):
    """``gain`` times a matrix of orthonormal rows or columns, whichever are fewer.

    The matrix is (first axis, all others). It is that of the QR decomposition of a normal
    matrix, made unique by positive diagonals; linear algebra libraries differ in the last bits.

    References:
        Saxe, McClelland, Ganguli, Exact solutions to the nonlinear dynamics of learning in
        deep linear neural networks, ICLR 2014.
    """

    gain: float = 1.0

    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Decompose a normal matrix."""
        if type.rank < 2:
            raise refuse(f"parameter '{name}'", f"Orthogonal needs two axes, found {type}")
        rows = type.dims[0]
        columns = type.size // rows
        shape = (max(rows, columns), min(rows, columns))
        normal = Normal().draw(seed, name, TensorType("float64", shape))
        q, r = np.linalg.qr(normal)
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)
        matrix = q if rows >= columns else q.T
        return (self.gain * matrix).reshape(type.dims).astype(numpy_dtype(type.dtype))


@dataclass(frozen=True)
class Identity(Initialiser):
    """``gain`` times the identity: a matrix, or a convolution that hands channels on.

    Of more outputs than inputs, or fewer, the surplus is 0. Kernels hold it at their middle.
    """

    gain: float = 1.0

    def draw(self, seed: int, name: str, type: TensorType) -> Array:
        """Fill the diagonal."""
        if type.rank < 2:
            raise refuse(f"parameter '{name}'", f"Identity needs two axes, found {type}")
        array = np.zeros(type.dims, numpy_dtype(type.dtype))
        middle = tuple(n // 2 for n in type.dims[2:])
        for k in range(min(type.dims[:2])):
            place = (k, k, *middle)
            array[place] = self.gain
        return array


__all__ = [
    "Identity",
    "Orthogonal",
    "VarianceScaling",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
]
