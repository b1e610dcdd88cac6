# SPDX-License-Identifier: MIT
"""What outputs are compared with: computed once per model and inputs, then kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ranvier.cli.arrays import load_arrays, save_arrays
from ranvier.errors import InputError

from .cases import Case
from .engines import Unavailable
from .processes import EngineFailed, engine_process
from .registry import REFERENCES_OF, Work
from .worker import case_to

Reference = tuple[str, "list[Any] | None"]
"""The name of what computed the outputs, and they; an empty name and ``None`` without any."""


def reference_of(
    case: Case, feed: Path, cores: Sequence[int], folder: Path | None, work: Work = "run"
) -> Reference:
    """Return the outputs of the first reference that can compute them.

    Args:
        case: the model.
        feed: its inputs.
        cores: those to use.
        folder: where outputs are kept, ``None`` to compute them anew.
        work: what is done with the case.
    """
    digest = _digest(case, feed)
    for engine in REFERENCES_OF[work]:
        kept = None if folder is None else folder / f"{digest}-{_file_name(engine.name)}.npz"
        if kept is not None and kept.exists():
            # What cannot be read is computed again.
            with contextlib.suppress(InputError):
                return engine.name, ordered(load_arrays(kept))
        computed = feed.with_name("reference.npz")
        with (
            contextlib.suppress(Unavailable, EngineFailed),
            engine_process(engine.name, cores, work=work) as process,
        ):
            process.ask("prepare", case=case_to(case), feed=str(feed), threads=len(cores), runs=0)
            process.ask("outputs", path=str(computed))
            arrays = load_arrays(computed)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                save_arrays(kept, arrays)
            return engine.name, ordered(arrays)
    return "", None


def ordered(arrays: dict[str, Any]) -> list[Any]:
    """Return the arrays of a file that an engine's process wrote, in the order of outputs."""
    return [arrays[f"arr_{k}"] for k in range(len(arrays))]


def cache_folder() -> Path:
    """Return the folder of this user where references are kept."""
    import platformdirs

    return platformdirs.user_cache_path("ranvier-benchmarks", appauthor=False)


def _file_name(engine: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in engine)


def _digest(case: Case, feed: Path) -> str:
    state = hashlib.sha256()
    weights = [] if case.module is None else [case.module / "module.safetensors"]
    for path in (case.model, *weights):
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                state.update(block)
    for name, array in sorted(load_arrays(feed).items()):
        state.update(f"{name} {array.dtype} {array.shape}".encode())
        state.update(array.tobytes())
    return state.hexdigest()[:32]
