# SPDX-License-Identifier: MIT
"""Measures ranvier side by side with other runtimes; run as ``python -m benchmarks``."""
