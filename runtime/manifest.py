# SPDX-License-Identifier: MIT
"""The manifest of an artifact: what is in the folder, checked before anything else is read."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import ArtifactError
from .keys import Key
from .machine import TargetInfo
from .program import ValueSpec
from .stages import Following, Result
from .strict_json import decode, encode, parse_object
from .weights import StoredTensor

FORMAT = 2
"""Version of the artifact format; raised when a reader of the old one would go wrong."""

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)


@dataclass(frozen=True)
class ModelInfo:
    """What the model takes and gives, before any shape is bound.

    Attributes:
        name: of the graph.
        inputs: names, element types and shapes; dimensions may be symbolic.
        outputs: likewise.
    """

    name: str
    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.inputs]
        if len(set(names)) != len(names):
            raise ArtifactError(f"model {self.name!r} has two inputs of one name")


@dataclass(frozen=True)
class FileEntry:
    """A file of the artifact's folder."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not _FILE_NAME.match(self.name):
            raise ArtifactError(f"{self.name!r} is not a plain file name")
        if self.size < 0 or not _SHA256.match(self.sha256):
            raise ArtifactError(f"file {self.name!r} has a bad size or checksum")


@dataclass(frozen=True)
class WeightName:
    """Which stored tensor a program's parameter is."""

    parameter: str
    key: str


@dataclass(frozen=True)
class Entry:
    """One specialisation: the number of its target, its key and the names of its files."""

    target: int
    key: Key
    program: str
    library: str
    graph: str
    weights: tuple[WeightName, ...]
    results: tuple[Result, ...]
    following: Following | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything that the folder's ``manifest.json`` says."""

    format: int
    ranvier: str
    model: ModelInfo
    targets: tuple[TargetInfo, ...]
    entries: tuple[Entry, ...]
    tensors: tuple[StoredTensor, ...]
    files: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        names = {f.name for f in self.files}
        keys = {t.key for t in self.tensors}
        if len(names) != len(self.files) or len(keys) != len(self.tensors):
            raise ArtifactError("a file or tensor is listed twice")
        if {e.target for e in self.entries} != set(range(len(self.targets))):
            raise ArtifactError("targets and specialisations do not belong to each other")
        for entry in self.entries:
            for name in (entry.program, entry.library, entry.graph):
                if name not in names:
                    raise ArtifactError(f"file {name!r} is used but not listed")
            for weight in entry.weights:
                if weight.key not in keys:
                    raise ArtifactError(f"tensor {weight.key!r} is used but not listed")

    def to_text(self) -> str:
        """Return the manifest with its own checksum as JSON text."""
        body = encode(self)
        return json.dumps({"checksum": _checksum(body), "manifest": body}, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: bytes, where: str) -> Manifest:
        """Return the manifest that :meth:`to_text` wrote.

        Raises:
            ArtifactError: another format version, damaged, or not a manifest at all.
        """
        data = parse_object(text, where)
        body = data.get("manifest")
        if set(data) != {"checksum", "manifest"} or not isinstance(body, dict):
            raise ArtifactError(f"{where}: not the manifest of an artifact")
        # The version first: a newer format may compute its checksum in another way.
        version = body.get("format")
        if type(version) is not int or version != FORMAT:
            raise ArtifactError(
                f"{where}: artifact format is {version!r}, this release of ranvier reads "
                f"{FORMAT}; compile the model again"
            )
        if data["checksum"] != _checksum(body):
            raise ArtifactError(f"{where}: checksum does not match, the file is damaged")
        return decode(cls, body, where)


def _checksum(body: Any) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
