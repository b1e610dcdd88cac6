# SPDX-License-Identifier: MIT
"""Checks of the sizes that callers choose."""

from __future__ import annotations

from ...errors import LayerError


def check_multiple(model: str, size: int, of: int) -> None:
    """Raise unless images of ``size`` can be halved as often as the model does.

    Raises:
        LayerError: ``size`` is no positive multiple of ``of``.
    """
    if size < of or size % of:
        raise LayerError(f"{model}: size={size} must be a multiple of {of}")
