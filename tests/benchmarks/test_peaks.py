# SPDX-License-Identifier: MIT
"""The loops that measure peaks do what they say."""

from __future__ import annotations

from ranvier.benchmarks.machine import caches
from ranvier.benchmarks.peaks import measure_peaks


def test_limits_are_numbers_of_every_level() -> None:
    peaks = measure_peaks()
    assert set(peaks.read) == {*(caches() or ("L1", "L2")), "memory"}
    assert peaks.flops > 1e8
    assert all(rate > 1e7 for rate in (*peaks.read.values(), peaks.scale))
