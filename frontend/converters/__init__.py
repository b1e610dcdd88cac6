# SPDX-License-Identifier: MIT
"""The converters of ONNX operators, by family; importing this package registers them all."""
