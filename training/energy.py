# SPDX-License-Identifier: MIT
"""Energy counters of processors (RAPL) and of NVIDIA's GPUs (NVML), where the machine tells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

POWERCAP = Path("/sys/class/powercap")


class UnreadableError(Exception):
    """A counter cannot be read; the message says why and what would help."""


class Counter(Protocol):
    """A counter of energy that begins again at zero after ``span`` joules, if that is not 0."""

    @property
    def name(self) -> str:
        """What it measures, such as ``package-0``."""

    @property
    def span(self) -> float:
        """Joules after which it begins again."""

    def read(self) -> float:
        """Return joules since some moment in the past.

        Raises:
            UnreadableError: it cannot be read.
        """


class RaplCounter:
    """A zone of the kernel's power capping framework.

    References:
        Linux, Documentation/power/powercap/powercap.rst: ``energy_uj`` in microjoules, which
        wraps around at ``max_energy_range_uj``.
    """

    def __init__(self, zone: Path, name: str) -> None:
        self.name = name
        self._zone = zone
        self.span = self._number("max_energy_range_uj")

    def read(self) -> float:
        """Return the zone's joules."""
        return self._number("energy_uj")

    def _number(self, file: str) -> float:
        path = self._zone / file
        try:
            return int(path.read_text(encoding="ascii")) / 1e6
        except PermissionError:
            raise UnreadableError(
                f"permission denied for {path}; root may read it, or whom root lets: chmod a+r"
            ) from None
        except (OSError, ValueError) as error:
            raise UnreadableError(f"cannot read {path} ({error})") from None


class NvmlCounter:
    """A GPU's energy since its driver was loaded.

    References:
        NVIDIA, NVML API, ``nvmlDeviceGetTotalEnergyConsumption``: millijoules, Volta and newer.
    """

    span = 0.0

    def __init__(self, nvml: Any, index: int) -> None:
        self.name = f"gpu-{index}"
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def read(self) -> float:
        """Return the GPU's joules."""
        try:
            return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        except self._nvml.NVMLError as error:
            raise UnreadableError(f"NVML: {error}") from None


def rapl_counters(folder: Path = POWERCAP) -> tuple[list[Counter], dict[str, str]]:
    """Return the counters of processors and their memory, and why others are not there.

    Parts of a package (cores, graphics) and the whole platform are left out: they would count
    the same energy twice.
    """
    found: list[Counter] = []
    missing: dict[str, str] = {}
    zones = sorted(folder.glob("intel-rapl:*")) if folder.is_dir() else []
    for zone in zones:
        name = _zone_name(zone)
        if name is None:
            continue
        try:
            counter = RaplCounter(zone, name)
            counter.read()
        except UnreadableError as error:
            missing[name] = str(error)
        else:
            found.append(counter)
    if not found and not missing:
        missing["package"] = (
            f"this system has no energy counter of a processor ({folder}/intel-rapl:*); virtual "
            f"machines and containers rarely have"
        )
    return found, missing


def nvml_counters() -> tuple[list[Counter], dict[str, str]]:
    """Return the counters of GPUs, and why others are not there."""
    try:
        import pynvml
    except ImportError:
        return [], {"gpu": "nvidia-ml-py is not installed: pip install 'ranvier[energy]'"}
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        return [], {"gpu": f"NVML: {error}"}
    found: list[Counter] = []
    missing: dict[str, str] = {}
    for index in range(count):
        try:
            counter = NvmlCounter(pynvml, index)
            counter.read()
        except (UnreadableError, pynvml.NVMLError) as error:
            missing[f"gpu-{index}"] = str(error)
        else:
            found.append(counter)
    return found, missing or ({} if found else {"gpu": "NVML reports no device"})


class Energy:
    """Joules of several counters since they were first looked at, across wrap-arounds.

    ``sample`` must be called more often than a counter wraps around, which takes a processor
    under full load some minutes at least.

    Attributes:
        joules: by counter.
        missing: why others cannot be read, by counter; one that fails later moves here.
    """

    def __init__(self, counters: Sequence[Counter], missing: dict[str, str]) -> None:
        self.joules = {counter.name: 0.0 for counter in counters}
        self.missing = dict(missing)
        self._counters = list(counters)
        self._last: dict[str, float] = {}
        self.sample()

    @classmethod
    def of_this_machine(cls) -> Energy:
        """Return all counters that this machine has."""
        processors, no_processors = rapl_counters()
        gpus, no_gpus = nvml_counters()
        return cls([*processors, *gpus], no_processors | no_gpus)

    def sample(self) -> None:
        """Add what has been used since the last call."""
        for counter in list(self._counters):
            try:
                now = counter.read()
            except UnreadableError as error:
                # Part of the energy would be worse than none: nobody can tell it from all.
                self._counters.remove(counter)
                self.joules.pop(counter.name)
                self.missing[counter.name] = str(error)
                continue
            used = now - self._last.get(counter.name, now)
            self.joules[counter.name] += used if used >= 0 else used + counter.span
            self._last[counter.name] = now


def _zone_name(zone: Path) -> str | None:
    """Return what a zone is called here; ``None`` if its energy is in another zone too."""
    match = re.fullmatch(r"intel-rapl:(\d+)(:\d+)?", zone.name)
    if match is None:
        return None
    try:
        kind = (zone / "name").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        kind = "package"
    if match[2]:
        return f"dram-{match[1]}" if kind == "dram" else None
    return None if kind == "psys" else f"package-{match[1]}"
