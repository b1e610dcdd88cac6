# SPDX-License-Identifier: MIT
"""The value of a Constant node, in each of the forms that the standard has had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError
from ..ir import Array, ArrayAttribute

_FORMS: dict[str, Any] = {
    "value_int": np.int64,
    "value_ints": np.int64,
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_string": object,
    "value_strings": object,
}


def constant_of(settings: Mapping[str, Any]) -> Array:
    """Return the array that a Constant node's attributes state.

    >>> constant_of({"value_ints": (1, 2)}).tolist()
    [1, 2]

    Raises:
        ModelError: not exactly one attribute states it.
    """
    if len(settings) != 1:
        raise ModelError(
            f"a constant needs exactly one value attribute, found {sorted(settings) or 'none'}"
        )
    ((form, value),) = settings.items()
    if isinstance(value, ArrayAttribute):
        return value.array
    return np.array(value, _FORMS[form])
