# SPDX-License-Identifier: MIT
"""ONNX in and out: loading, conversion to canonical graphs, staging."""
