# SPDX-License-Identifier: MIT
"""Passes: functions ``Graph -> Graph``, one a file; importing this package registers them."""

from .canonicalise import canonicalise
from .differentiate import differentiate, parameters_as_inputs
from .eliminate_common_subexpressions import eliminate_common_subexpressions
from .eliminate_dead_nodes import eliminate_dead_nodes
from .expand_composites import expand_composites
from .fold_constants import fold_constants
from .fold_normalization import fold_normalization
from .fuse import fuse
from .partition import partition
from .pipelines import CANONICAL, TARGET_READY, TRAINING
from .plan_memory import Buffer, Plan, plan
from .pool_before_pointwise import pool_before_pointwise
from .push_slices_up import push_slices_up
from .recognise_composites import recognise_composites
from .registry import PASSES, Pass, graph_pass, pass_named, run_passes
from .rematerialise import memory_peak, rematerialise
from .split_normalization import split_normalization
from .split_sums import split_sums
from .use_batch_statistics import use_batch_statistics
from .use_dropout import use_dropout

__all__ = [
    "CANONICAL",
    "PASSES",
    "TARGET_READY",
    "TRAINING",
    "Buffer",
    "Pass",
    "Plan",
    "canonicalise",
    "differentiate",
    "eliminate_common_subexpressions",
    "eliminate_dead_nodes",
    "expand_composites",
    "fold_constants",
    "fold_normalization",
    "fuse",
    "graph_pass",
    "memory_peak",
    "parameters_as_inputs",
    "partition",
    "pass_named",
    "plan",
    "pool_before_pointwise",
    "push_slices_up",
    "recognise_composites",
    "rematerialise",
    "run_passes",
    "split_normalization",
    "split_sums",
    "use_batch_statistics",
    "use_dropout",
]
