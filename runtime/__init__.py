# SPDX-License-Identifier: MIT
"""Runs artifacts: no compiler, no onnx, no passes."""
