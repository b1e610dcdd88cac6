# SPDX-License-Identifier: MIT
"""Passes: functions ``Graph -> Graph``, one a file; importing this package registers them."""

from .eliminate_dead_nodes import eliminate_dead_nodes
from .fuse import fuse
from .plan_memory import Buffer, Plan, plan
from .registry import PASSES, Pass, graph_pass, pass_named, run_passes

__all__ = [
    "PASSES",
    "Buffer",
    "Pass",
    "Plan",
    "eliminate_dead_nodes",
    "fuse",
    "graph_pass",
    "pass_named",
    "plan",
    "run_passes",
]
