# SPDX-License-Identifier: MIT
"""Target-ready graphs to kernels, programs and artifacts; the only package that imports tvm."""
