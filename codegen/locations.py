# SPDX-License-Identifier: MIT
"""Where values live while a program is assembled, before the arena has offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..runtime.program import BufferRef, Space


@dataclass(frozen=True)
class Location:
    """An address to be: like a :class:`BufferRef`, with an arena buffer's name for its offset."""

    space: Space
    index: int = 0
    offset: int = 0
    buffer: str = ""
    strides: tuple[int, ...] = ()

    def moving(self, depth: int, stride: int) -> Location:
        """Return the location that moves by ``stride`` bytes per trip of the loop at ``depth``."""
        padded = self.strides + (0,) * (depth - len(self.strides))
        return replace(self, strides=(*padded, stride))


@dataclass(frozen=True)
class HostSlot:
    """A place in the executor's list of Python objects."""

    number: int


@dataclass
class ArenaBuffer:
    """An arena buffer and the steps between which it is live."""

    name: str
    nbytes: int
    first: int
    last: int


Planner = Callable[[Sequence[ArenaBuffer]], tuple[Mapping[str, int], int]]
"""Returns an offset per buffer and the bytes of the arena."""


class Arena:
    """Hands out buffers and records their lifetimes against a clock of steps."""

    def __init__(self) -> None:
        self.buffers: dict[str, ArenaBuffer] = {}
        self.clock = 0

    def allocate(self, nbytes: int) -> Location:
        """Return a new buffer that is live from now on."""
        name = f"b{len(self.buffers)}"
        self.buffers[name] = ArenaBuffer(name, nbytes, self.clock, self.clock)
        return Location("arena", buffer=name)

    def touch(self, location: Location | HostSlot) -> None:
        """Record that a buffer is read or written now."""
        if isinstance(location, Location) and location.buffer:
            self.buffers[location.buffer].last = self.clock

    def close_loop(self, start: int) -> None:
        """Keep whatever a loop uses from before it alive until the loop ends."""
        for buffer in self.buffers.values():
            if buffer.first < start <= buffer.last:
                buffer.last = self.clock

    def place(self, planner: Planner) -> tuple[Callable[[Location], BufferRef], int]:
        """Plan the arena; return a function from locations to addresses, and its size."""
        offsets, total = planner(tuple(self.buffers.values()))

        def resolve(location: Location) -> BufferRef:
            base = offsets[location.buffer] if location.buffer else 0
            return BufferRef(
                location.space, location.index, location.offset + base, location.strides
            )

        return resolve, total
