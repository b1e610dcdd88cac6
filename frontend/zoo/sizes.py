# SPDX-License-Identifier: MIT
"""Sizes that callers choose: checks, and channels in proportion to a width."""

from __future__ import annotations

from ...errors import LayerError


def check_multiple(model: str, size: int, of: int, what: str = "size") -> None:
    """Raise unless a size can be divided as the model does.

    Raises:
        LayerError: ``size`` is no positive multiple of ``of``.
    """
    if size < of or size % of:
        raise LayerError(f"{model}: {what}={size} must be a multiple of {of}")


def scaled_channels(channels: int, width: int, of: int) -> int:
    """Return ``channels * width / of`` rounded to a multiple of 8, at most a tenth below.

    >>> scaled_channels(96, 32, 32), scaled_channels(24, 16, 32), scaled_channels(20, 16, 32)
    (96, 16, 16)

    References:
        Sandler et al., MobileNetV2, CVPR 2018, and its reference implementation.
    """
    exact = channels * width / of
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8
