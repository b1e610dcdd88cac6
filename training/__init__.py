# SPDX-License-Identifier: MIT
"""Learning: losses, metrics, optimizers, data and the loop that trains a graph."""
