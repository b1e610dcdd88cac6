# SPDX-License-Identifier: MIT
"""What this machine is, and whether code built for a target can run on it."""

from __future__ import annotations

import functools
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArtifactError

_CPUINFO = Path("/proc/cpuinfo")
_TOPOLOGY = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup/cpu.max")
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class TargetInfo:
    """What an artifact needs of a machine.

    Attributes:
        name: the target as the user named it, such as ``cpu``.
        kind: ``cpu`` or ``cuda``.
        os: operating system in lower case, such as ``linux``.
        arch: processor architecture of the library, such as ``x86_64``.
        cpu: processor model or level that it was tuned for, for people.
        features: processor features that the code uses, named as in ``/proc/cpuinfo``.
        device: capability that a GPU must have, such as ``sm_80``; empty for cpu.
    """

    name: str
    kind: str
    os: str
    arch: str
    cpu: str = ""
    features: tuple[str, ...] = ()
    device: str = ""


def this_os() -> str:
    """Return the operating system's name in lower case."""
    return platform.system().lower()


def this_arch() -> str:
    """Return the processor architecture, one name per architecture."""
    name = platform.machine().lower()
    return _ARCHITECTURES.get(name, name)


@functools.cache
def cpu_model() -> str:
    """Return the processor's model as Linux names it; empty where it does not tell."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    wanted = ("model name", "cpu family", "model", "CPU implementer", "CPU part")
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in wanted:
            found.setdefault(name.strip(), value.strip())
    return ", ".join(f"{name} {value}" for name, value in found.items())


@functools.cache
def cpu_features() -> frozenset[str]:
    """Return the processor's features as Linux names them; empty where it does not tell."""
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def require_machine(target: TargetInfo) -> None:
    """Check that code for ``target`` can run here.

    Raises:
        ArtifactError: another operating system or architecture, or features are missing;
            the message names them.
    """
    here = (this_os(), this_arch())
    if (target.os, target.arch) != here:
        raise ArtifactError(
            f"artifact is for {target.os} on {target.arch}, this machine is {here[0]} on "
            f"{here[1]}; compile the model for this machine"
        )
    missing = sorted(set(target.features) - cpu_features())
    if missing:
        raise ArtifactError(
            f"artifact for target {target.name!r} needs the processor features "
            f"{', '.join(missing)}, which this machine lacks; compile the model for this "
            "machine or for a lower level"
        )


def usable_cores() -> int:
    """Return how many processor cores this process may use, at least one.

    Logical processors of one core count once; the affinity mask and a container's quota of
    processor time are obeyed.
    """
    allowed = os.sched_getaffinity(0)
    cores = {_core_of(cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota()))


def _core_of(cpu: int) -> str:
    """Return a text that names the core of a logical processor."""
    try:
        return (_TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text("ascii")
    except OSError:
        return str(cpu)


def _quota() -> int:
    """Return how many processors' time the control group may use, rounded up."""
    try:
        quota, period = _CGROUP.read_text("ascii").split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return sys.maxsize


def best_target(targets: Sequence[TargetInfo], any_machine: bool = False) -> int:
    """Return the number of the target that uses most of this processor's features.

    Args:
        targets: at least one.
        any_machine: return the first one if none can run here.

    Raises:
        ArtifactError: none can run here; the message says why.
    """
    runnable: list[int] = []
    reasons: list[str] = []
    for number, target in enumerate(targets):
        try:
            require_machine(target)
            runnable.append(number)
        except ArtifactError as error:
            reasons.append(str(error))
    if runnable:
        return max(runnable, key=lambda number: len(targets[number].features))
    if any_machine:
        return 0
    raise ArtifactError("; ".join(reasons))
