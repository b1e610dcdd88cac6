# SPDX-License-Identifier: MIT
"""Optimizers once more: one tensor, float64, plain NumPy, as torch's documentation states them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ranvier.ir import Array
from ranvier.training import optimizers as o

Step = Callable[[Array, Array, int, float], Array]
"""``step(x, g, t, rate)`` returns the new x and keeps states."""


def reference(optimizer: o.Optimizer) -> Step:
    """Return the steps of one tensor by an optimizer."""
    make = _BY_KIND[type(optimizer)](optimizer)
    decay = optimizer.weight_decay

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        if optimizer.decoupled:
            x = x * (1 - rate * decay)
        elif not isinstance(optimizer, o.LayerWise):
            g = g + decay * x
        return make(x, g, t, rate)

    return step


def _sgd(s: o.SGD) -> Step:
    state: dict[str, Array] = {}

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        if s.momentum:
            first = "b" not in state
            state["b"] = g if first else s.momentum * state["b"] + (1 - s.dampening) * g
            g = g + s.momentum * state["b"] if s.nesterov else state["b"]
        return x - rate * g

    return step


def _adam(s: o.Adam) -> Step:
    m = v = top = np.zeros(())

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal m, v, top
        m = s.beta1 * m + (1 - s.beta1) * g
        v = s.beta2 * v + (1 - s.beta2) * g**2
        top = np.maximum(top, v)
        second = (top if s.amsgrad else v) / (1 - s.beta2**t)
        return x - rate * (m / (1 - s.beta1**t)) / (np.sqrt(second) + s.epsilon)

    return step


def _nadam(s: o.NAdam) -> Step:
    m = v = np.zeros(())
    product = 1.0

    def momentum(t: int) -> float:
        return float(s.beta1 * (1 - 0.5 * 0.96 ** (t * s.momentum_decay)))

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal m, v, product
        m = s.beta1 * m + (1 - s.beta1) * g
        v = s.beta2 * v + (1 - s.beta2) * g**2
        product *= momentum(t)
        then = momentum(t + 1)
        mean = then * m / (1 - product * then) + (1 - momentum(t)) * g / (1 - product)
        return x - rate * mean / (np.sqrt(v / (1 - s.beta2**t)) + s.epsilon)

    return step


def _adamax(s: o.Adamax) -> Step:
    m = u = np.zeros(())

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal m, u
        m = s.beta1 * m + (1 - s.beta1) * g
        u = np.maximum(s.beta2 * u, np.abs(g) + s.epsilon)
        return x - rate / (1 - s.beta1**t) * m / u

    return step


def _rmsprop(s: o.RMSprop) -> Step:
    v = mean = b = np.zeros(())

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal v, mean, b
        v = s.alpha * v + (1 - s.alpha) * g**2
        mean = s.alpha * mean + (1 - s.alpha) * g
        root = np.sqrt(v - mean**2 if s.centered else v) + s.epsilon
        b = s.momentum * b + g / root
        return x - rate * b

    return step


def _adagrad(s: o.Adagrad) -> Step:
    total: Array = np.asarray(s.initial_square)

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal total
        total = total + g**2
        moved: Array = g / (np.sqrt(total) + s.epsilon)
        return x - rate / (1 + (t - 1) * s.rate_decay) * moved

    return step


def _adadelta(s: o.Adadelta) -> Step:
    v = u = np.zeros(())

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal v, u
        v = s.rho * v + (1 - s.rho) * g**2
        d = np.sqrt(u + s.epsilon) / np.sqrt(v + s.epsilon) * g
        u = s.rho * u + (1 - s.rho) * d**2
        return x - rate * d

    return step


def _lars(s: o.LARS) -> Step:
    v = np.zeros(())

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal v
        size, slope = np.linalg.norm(x), np.linalg.norm(g)
        local = s.coefficient * size / (slope + s.weight_decay * size) if size and slope else 1.0
        v = s.momentum * v + rate * local * (g + s.weight_decay * x)
        return x - v

    return step


def _lamb(s: o.LAMB) -> Step:
    m = v = np.zeros(())

    def step(x: Array, g: Array, t: int, rate: float) -> Array:
        nonlocal m, v
        m = s.beta1 * m + (1 - s.beta1) * g
        v = s.beta2 * v + (1 - s.beta2) * g**2
        ratio = (m / (1 - s.beta1**t)) / (np.sqrt(v / (1 - s.beta2**t)) + s.epsilon)
        u = ratio + s.weight_decay * x
        size, slope = np.linalg.norm(x), np.linalg.norm(u)
        return x - rate * (size / slope if size and slope else 1.0) * u

    return step


_BY_KIND: dict[type[o.Optimizer], Callable[..., Step]] = {
    o.SGD: _sgd,
    o.Adam: _adam,
    o.AdamW: _adam,
    o.AMSGrad: _adam,
    o.NAdam: _nadam,
    o.Adamax: _adamax,
    o.RMSprop: _rmsprop,
    o.Adagrad: _adagrad,
    o.Adadelta: _adadelta,
    o.LARS: _lars,
    o.LAMB: _lamb,
}
