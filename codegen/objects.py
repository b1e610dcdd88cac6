# SPDX-License-Identifier: MIT
"""Object files of compiled kernels on disk, shared by every program that has the same kernel."""

from __future__ import annotations

import hashlib
import json

from ..errors import CacheError
from ..runtime.atomic import atomic_file
from .cache import VARIABLE, cache_folder, object_folder
from .kernel import Kernel

_SUM_BYTES = hashlib.sha256().digest_size


def find_kernel(key: str) -> Kernel | None:
    """Return the compiled kernel for ``key``; ``None`` if it is not there or damaged.

    Args:
        key: digest of all that decides the kernel's code.
    """
    try:
        data = (object_folder(key) / key).read_bytes()
    except OSError:
        return None
    content = data[_SUM_BYTES:]
    if hashlib.sha256(content).digest() != data[:_SUM_BYTES]:
        # Compiled again and replaced: the cache holds nothing of its own.
        return None
    head, _, code = content.partition(b"\n")
    facts = json.loads(head)
    return Kernel(None, tuple(facts["scratch"]), facts["parallel"], key, code, facts["by_template"])


def keep_kernel(kernel: Kernel) -> None:
    """Store a compiled kernel under its key; a writer of the same key does no harm.

    Raises:
        CacheError: the cache cannot be written.
    """
    facts = {name: getattr(kernel, name) for name in ("scratch", "parallel", "by_template")}
    head = json.dumps(facts).encode()
    content = head + b"\n" + kernel.code
    folder = object_folder(kernel.key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not synced: a file that a crash cut short fails its checksum and is made again.
        with atomic_file(folder / kernel.key, durable=False) as file:
            file.write(hashlib.sha256(content).digest() + content)
    except OSError as error:
        raise CacheError(
            f"cannot write the kernel cache {cache_folder()} ({error.strerror or error}); "
            f"free space, or set {VARIABLE} to a writable folder or to 'off'"
        ) from error
