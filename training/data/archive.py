# SPDX-License-Identifier: MIT
"""Arrays in .npz files, read without running anything that a file brings along."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...ir import Array


def read_npz(path: str | Path) -> dict[str, Array]:
    """Return the arrays of an ``.npz`` file by name.

    Arrays of Python objects are refused: reading them would run code of the file.

    Raises:
        DataError: the file is absent, damaged, or holds something else than numbers.
    """
    try:
        # Opened here, so that it is closed whatever NumPy finds in it.
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"'{path}' holds one array; expected an .npz file")
            with archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error}") from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"'{path}' is damaged, or holds Python objects instead of numbers: {error}"
        ) from error


__all__ = ["read_npz"]
