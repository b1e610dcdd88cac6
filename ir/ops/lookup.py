# SPDX-License-Identifier: MIT
"""Replacing values by a table; the executor runs it with NumPy, for the values may be strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..attributes import ArrayAttribute
from ..op import Arrays, Types
from ..types import TensorType, Type, dtype_name
from .host import HostOp


@dataclass(frozen=True)
class LookUp(HostOp):
    """``y = values[k]`` where ``x`` is ``keys[k]``, or ``default`` where it is no key.

    NaN is a key like any other; of equal keys the last counts. Gradient: none, because the
    result is piecewise constant. ONNX: ai.onnx.ml LabelEncoder-4.

    Attributes:
        keys: what to look for, one axis.
        values: what to put in place, one for each key.
        default: what to put in place of what is no key, one element.
    """

    name: ClassVar[str] = "look_up"
    keys: ArrayAttribute
    values: ArrayAttribute
    default: ArrayAttribute

    def infer(self, *inputs: Type) -> Types:
        """Return the operand's shape with the element type of the values."""
        (x,) = self.tensors(inputs, 1)
        keys, values, default = self.keys.array, self.values.array, self.default.array
        if keys.ndim != 1 or keys.shape != values.shape or default.size != 1:
            raise self.error(
                f"{keys.shape} keys, {values.shape} values and {default.shape} defaults: expected "
                "two lists of one length and one element"
            )
        if x.dtype != dtype_name(keys.dtype) or dtype_name(values.dtype) != dtype_name(
            default.dtype
        ):
            raise self.error(
                f"element types differ: {x.dtype} in {keys.dtype} keys, {values.dtype} values "
                f"with a default of {default.dtype}"
            )
        return (TensorType(dtype_name(values.dtype), x.shape),)

    def evaluate(self, *inputs: Any) -> Arrays:
        """Look every element up in a dictionary."""
        x = np.asarray(inputs[0])
        values = self.values.array.tolist()
        table = {_key(k): v for k, v in zip(self.keys.array.tolist(), values, strict=True)}
        default = self.default.array.ravel().tolist()[0]
        found = [table.get(_key(e), default) for e in x.ravel().tolist()]
        return (np.array(found, self.values.array.dtype).reshape(x.shape),)


def _key(element: Any) -> Any:
    """Return what stands for an element in a dictionary: one NaN for all."""
    return "" if element != element else (element,)


__all__ = ["LookUp"]
