# SPDX-License-Identifier: MIT
"""Resident memory of this process."""

from __future__ import annotations

import re
from pathlib import Path


def resident() -> int:
    """Return the bytes that are resident now."""
    return _status("VmRSS")


def peak() -> int:
    """Return the most bytes that were resident since :func:`reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Let the peak start again from what is resident now (Linux, proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status(key: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    match = re.search(rf"^{key}:\s*(\d+) kB$", text, re.MULTILINE)
    assert match is not None, key
    return int(match[1]) << 10
