# SPDX-License-Identifier: MIT
"""A compiled model: in memory while it grows, as a folder for keeping and running elsewhere."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..errors import ArtifactError
from .atomic import HashingFile, atomic_folder
from .dtypes import Array, name_of_dtype
from .keys import Key
from .machine import TargetInfo, best_target
from .manifest import FORMAT, Entry, FileEntry, Manifest, ModelInfo, WeightName
from .program import Program
from .stages import Following, Result
from .strict_json import parse_object
from .weights import StoredTensor, content_key, load_weights, write_weights

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_LARGEST_TEXT = 2**30


@dataclass(frozen=True)
class Specialisation:
    """A model compiled for one key.

    Attributes:
        key: the types and values it was compiled for.
        program: its steps.
        library: path of the shared library that holds ``main``.
        weights: the arrays of ``program.parameters`` by name.
        graph: text of the target-ready graph, for inspection.
        results: what the program's visible outputs are.
        following: the stage that runs next, ``None`` if this is the last.
    """

    key: Key
    program: Program
    library: Path
    weights: Mapping[str, Array]
    graph: str
    results: tuple[Result, ...]
    following: Following | None = None

    def __post_init__(self) -> None:
        expected = sum(result.num_tensors for result in self.results)
        visible = len(self.program.outputs) - len(self.program.checks)
        if expected != visible:
            raise ArtifactError(
                f"specialisation {self.key}: {expected} named tensors, the program has {visible}"
            )


class Artifact:
    """The specialisations of one model for one target.

    Attributes:
        model: inputs and outputs of the model.
        target: what the machine must have.
        path: the folder it was loaded from, ``None`` if it lives in memory.
        variants: the same model for other targets, which are saved with it; whoever loads
            the folder gets what suits his machine best.
    """

    def __init__(
        self,
        model: ModelInfo,
        target: TargetInfo,
        specialisations: Iterable[Specialisation] = (),
    ) -> None:
        self.model = model
        self.target = target
        self.path: Path | None = None
        self.variants: tuple[Artifact, ...] = ()
        self._lock = threading.Lock()
        self._loaders: dict[Key, Callable[[], Specialisation]] = {}
        self._loaded: dict[Key, Specialisation] = {}
        for specialisation in specialisations:
            self.add(specialisation)

    def __repr__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return (
            f"<Artifact {self.model.name!r} for {self.target.name}, {len(self.keys)} keys{where}>"
        )

    @property
    def keys(self) -> tuple[Key, ...]:
        """Keys of all specialisations, in the order they were added."""
        return tuple(self._loaders)

    def add(self, specialisation: Specialisation) -> None:
        """Add a specialisation, or replace that of the same key."""
        with self._lock:
            self._loaders[specialisation.key] = lambda: specialisation
            self._loaded[specialisation.key] = specialisation

    def find(self, key: Key) -> Specialisation | None:
        """Return the specialisation for ``key``, read from the folder at first use.

        Raises:
            ArtifactError: its files are damaged.
        """
        with self._lock:
            if key not in self._loaders:
                return None
            if key not in self._loaded:
                self._loaded[key] = self._loaders[key]()
            return self._loaded[key]

    def bindings(self, types: tuple[str, ...], stage: str) -> list[tuple[int, ...]]:
        """Return which inputs' values are compiled in, for every way there is for these types."""
        found = [
            tuple(n for n, value in enumerate(k.values) if value)
            for k in self.keys  # a copy: another thread may add to it
            if k.stage == stage and k.types == types
        ]
        return list(dict.fromkeys(found))

    def specialisations(self) -> tuple[Specialisation, ...]:
        """Return every specialisation."""
        found = (self.find(key) for key in self.keys)
        return tuple(s for s in found if s is not None)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the artifact as a folder, which appears whole or not at all.

        An artifact that is already at ``path`` is replaced; anything else there is not.

        Raises:
            ArtifactError: the folder cannot be written, for example on a full disk.
        """
        target = Path(path)
        _require_replaceable(target)
        if not all(a.specialisations() for a in (self, *self.variants)):
            raise ArtifactError(
                "the artifact holds no compiled shapes yet; give `shapes` to compile, or run "
                "it once, before saving"
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic_folder(target) as folder:
                _Writer(folder).write(self)
        except OSError as error:
            raise ArtifactError(f"cannot write artifact {target}: {error}") from error

    @classmethod
    def load(cls, path: str | PathLike[str], any_machine: bool = False) -> Artifact:
        """Open an artifact's folder.

        Manifest, file names and sizes are checked at once; a file's checksum when the file
        is first used, so that opening takes milliseconds whatever the weights' size.

        Of several variants the one is opened that uses most of this processor's features.

        Args:
            path: the folder.
            any_machine: also open what cannot run here, to inspect it.

        Raises:
            ArtifactError: not an artifact, damaged, of another format version, or compiled
                for a machine with features that this one lacks.
        """
        folder = _Folder(Path(path))
        artifacts = [cls(folder.manifest.model, target) for target in folder.manifest.targets]
        for artifact in artifacts:
            artifact.path = folder.path
        for entry in folder.manifest.entries:
            artifacts[entry.target]._loaders[entry.key] = _loader(folder, entry)
        return join_variants(artifacts, any_machine)

    def verify(self) -> None:
        """Check every file of a loaded artifact against its checksum.

        Raises:
            ArtifactError: a file is damaged.
        """
        if self.path is None:
            return
        folder = _Folder(self.path)
        for name in folder.files:
            folder.verified(name)


def join_variants(artifacts: Sequence[Artifact], any_machine: bool = False) -> Artifact:
    """Return the artifact that suits this machine best, with the others as its variants.

    Args:
        artifacts: one model for several targets.
        any_machine: give the first one if none can run here.

    Raises:
        ArtifactError: none can run here, or they are of different models.
    """
    if any(a.model != artifacts[0].model for a in artifacts):
        raise ArtifactError("the variants of an artifact must be of one model")
    number = best_target([a.target for a in artifacts], any_machine)
    best = artifacts[number]
    best.variants = tuple(a for a in artifacts if a is not best)
    return best


def is_artifact(path: str | PathLike[str]) -> bool:
    """Whether ``path`` is a folder with an artifact's manifest."""
    return (Path(path) / MANIFEST).is_file()


def _loader(folder: _Folder, entry: Entry) -> Callable[[], Specialisation]:
    return lambda: folder.specialisation(entry)


def _require_replaceable(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ArtifactError(f"{path} exists and is not a folder; choose another name")
    if path.is_dir() and not is_artifact(path) and any(path.iterdir()):
        raise ArtifactError(f"{path} exists and is not an artifact; choose another name")


class _Writer:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[FileEntry] = []
        self.arrays: dict[str, Array] = {}
        self._keys: dict[int, str] = {}

    def write(self, artifact: Artifact) -> None:
        from .. import __version__

        variants = (artifact, *artifact.variants)
        pairs = [(k, s) for k, variant in enumerate(variants) for s in variant.specialisations()]
        entries = tuple(self.entry(n, k, s) for n, (k, s) in enumerate(pairs))
        with closing(HashingFile(self.folder / WEIGHTS)) as weights:
            # In the order of the first program's parameters and aligned like them, so that
            # what is read into memory can be used as it is.
            write_weights(weights, self.arrays, aligned=True)
        self.files.append(FileEntry(WEIGHTS, weights.size, weights.sha256))
        tensors = tuple(
            StoredTensor(k, name_of_dtype(a.dtype), a.shape) for k, a in self.arrays.items()
        )
        targets = tuple(variant.target for variant in variants)
        files = tuple(self.files)
        manifest = Manifest(FORMAT, __version__, artifact.model, targets, entries, tensors, files)
        with closing(HashingFile(self.folder / MANIFEST)) as file:
            file.write(manifest.to_text().encode())

    def entry(self, number: int, target: int, s: Specialisation) -> Entry:
        import json

        program = json.dumps(s.program.to_json(), separators=(",", ":"))
        return Entry(
            target,
            s.key,
            self.text(f"program-{number}.json", program),
            self.copy(f"library-{number}.so", s.library),
            self.text(f"graph-{number}.ir", s.graph),
            tuple(WeightName(p.name, self.store(s.weights[p.name])) for p in s.program.parameters),
            s.results,
            s.following,
        )

    def store(self, array: Array) -> str:
        # Hashing is the slow part and specialisations share their arrays.
        key = self._keys.get(id(array))
        if key is None:
            key = self._keys[id(array)] = content_key(array)
            self.arrays[key] = array
        return key

    def text(self, name: str, text: str) -> str:
        with closing(HashingFile(self.folder / name)) as file:
            file.write(text.encode())
        self.files.append(FileEntry(name, file.size, file.sha256))
        return name

    def copy(self, name: str, source: Path) -> str:
        with source.open("rb") as original, closing(HashingFile(self.folder / name)) as file:
            while block := original.read(2**20):
                file.write(block)
        shutil.copymode(source, self.folder / name)
        self.files.append(FileEntry(name, file.size, file.sha256))
        return name


class _Folder:
    """An artifact on disk: hands out only what its manifest vouches for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        text = self._read(MANIFEST, _LARGEST_TEXT)
        self.manifest = Manifest.from_text(text, str(path / MANIFEST))
        self.files = {f.name: f for f in self.manifest.files}
        self._verified: set[str] = set()
        self._arrays: dict[str, Array] | None = None
        for entry in self.manifest.files:
            self._check_size(entry)

    def specialisation(self, entry: Entry) -> Specialisation:
        where = f"{self.path / entry.program}"
        program = Program.from_json(parse_object(self.text(entry.program), where), where)
        arrays = self.arrays()
        weights = {w.parameter: arrays[w.key] for w in entry.weights}
        missing = sorted({p.name for p in program.parameters} - weights.keys())
        if missing:
            raise ArtifactError(f"{where}: parameter {missing[0]!r} has no weights")
        library = self.verified(entry.library)
        graph = self.text(entry.graph).decode(errors="replace")
        return Specialisation(
            entry.key, program, library, weights, graph, entry.results, entry.following
        )

    def arrays(self) -> dict[str, Array]:
        if self._arrays is None:
            listed = self._listed(WEIGHTS)
            path = self.path / WEIGHTS
            self._arrays = load_weights(path, listed.size, listed.sha256, self.manifest.tensors)
            self._verified.add(WEIGHTS)
        return self._arrays

    def text(self, name: str) -> bytes:
        return self._read(self.verified(name).name, _LARGEST_TEXT)

    def verified(self, name: str) -> Path:
        """Return the path of a listed file whose checksum matches."""
        path = self.path / name
        listed = self._listed(name)
        if name not in self._verified:
            if _sha256(path) != listed.sha256:
                raise ArtifactError(f"{path}: checksum does not match, the file is damaged")
            self._verified.add(name)
        return path

    def _listed(self, name: str) -> FileEntry:
        if name not in self.files:
            raise ArtifactError(f"{self.path / name}: not listed in the manifest")
        return self.files[name]

    def _check_size(self, entry: FileEntry) -> None:
        path = self.path / entry.name
        try:
            regular = path.is_file() and not path.is_symlink()
            size = path.stat().st_size if regular else -1
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error})") from error
        if not regular:
            raise ArtifactError(f"{path}: missing, or not a plain file")
        if size != entry.size:
            raise ArtifactError(f"{path}: {size} bytes, the manifest says {entry.size}")

    def _read(self, name: str, limit: int) -> bytes:
        path = self.path / name
        try:
            if path.stat().st_size > limit:
                raise ArtifactError(f"{path}: larger than {limit} bytes")
            return path.read_bytes()
        except FileNotFoundError:
            raise ArtifactError(f"{path}: missing; {self.path} is not an artifact") from None
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error})") from error


def _sha256(path: Path) -> str:
    state = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                state.update(block)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error})") from error
    return state.hexdigest()
