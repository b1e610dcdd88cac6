# SPDX-License-Identifier: MIT
"""Event files of TensorBoard: records with checksums around three kinds of protobuf messages."""

from __future__ import annotations

import functools
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_VERSION = b"brain.Event:2"
_SESSION_START = b"\x08\x01"
_MASK = 0xA282EAD8
_POLYNOMIAL = 0x82F63B78


class EventFile:
    """A new event file with scalars; each record is whole in the file when its call returns.

    The messages (numbers of fields as in TensorBoard's ``event.proto`` and ``summary.proto``)::

        Event   1: wall_time (double)  2: step  3: file_version  5: Summary  7: SessionLog
        Summary 1: Value, repeated         Value      1: tag  2: simple_value (float)
                                           SessionLog 1: status (1 is START)

    Args:
        folder: of one curve's run; made if it is not there.
        first_step: the step that comes next. TensorBoard forgets what other files of the folder
            have from there on: a resumed run takes it up again.

    Raises:
        OSError: the file cannot be written.

    References:
        TensorFlow, ``tensorflow/core/lib/io/record_writer.h``: length, its checksum, data, their
        checksum; checksums are CRC-32C (RFC 3720, B.4), rotated and shifted.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names.
        seconds, rest = divmod(time.time_ns(), 10**9)
        self.path = folder / f"events.out.tfevents.{seconds:010d}.{rest:09d}"
        self._file = self.path.open("xb", buffering=0)
        self._write(_text(3, _VERSION))
        self._write(_number(2, first_step) + _text(7, _SESSION_START))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Append numbers by tag; in the file they are float32.

        Raises:
            OSError: the file cannot be written.
        """
        values = b"".join(
            _text(1, _text(1, tag.encode()) + b"\x15" + _float32(value))
            for tag, value in scalars.items()
        )
        self._write(_number(2, step) + _text(5, values))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, rest: bytes) -> None:
        event = b"\x09" + struct.pack("<d", time.time()) + rest
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked(length) + event + _masked(event))


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    def entry(crc: int) -> int:
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        return crc

    return tuple(entry(byte) for byte in range(256))


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    rotated = ((crc >> 15) | (crc << 17)) & 0xFFFFFFFF
    return struct.pack("<I", (rotated + _MASK) & 0xFFFFFFFF)


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _text(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _float32(value: float) -> bytes:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
        return np.array(value, np.float64).astype("<f4").tobytes()
