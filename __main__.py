# SPDX-License-Identifier: MIT
"""Entry point of ``python -m ranvier``."""

from .cli import main

if __name__ == "__main__":
    main()
