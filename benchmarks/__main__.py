# SPDX-License-Identifier: MIT
"""``python -m benchmarks``."""

from .engines import hide_torch

hide_torch()  # before anything imports tvm_ffi

from .app import main  # noqa: E402

if __name__ == "__main__":
    main()
