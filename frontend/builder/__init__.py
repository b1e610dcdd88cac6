# SPDX-License-Identifier: MIT
"""Networks described layer by layer: functions from tensors to tensors, typed and checked.

>>> from ranvier.frontend import builder as nn
>>> x = nn.input("image", (1, 3, 32, 32))
>>> y = nn.conv(x, 8, 3, stride=2, padding="same", bias=False, name="conv1")
>>> y = nn.relu(nn.batch_norm(y, name="bn1"))
>>> y = nn.linear(nn.global_average_pool(y), 10, name="fc")
>>> network = nn.network("small", [x], {"scores": y})
>>> network.parameter_count
322
>>> len(network.graph(seed=0).nodes)
6
"""

from .attention import attention
from .comparison import (
    both,
    cast,
    either,
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    not_equal,
    one_hot,
    where,
)
from .cross_entropy import cross_entropy
from .elementary import (
    abs,  # noqa: A004 - as NumPy calls it
    exp,
    expm1,
    log,
    log1p,
    log_softmax,
    maximum,
    minimum,
    power,
    softplus,
    sqrt,
    square,
)
from .elementwise import (
    add,
    clip,
    dropout,
    gelu,
    hard_swish,
    leaky_relu,
    multiply,
    prelu,
    relu,
    sigmoid,
    softmax,
    swish,
    tanh,
)
from .initialisers import (
    Identity,
    Orthogonal,
    VarianceScaling,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)
from .movement import broadcast, concat, crop, flatten, pad, reshape, split, transpose
from .network import Network, graph, network
from .normalization import batch_norm, group_norm, instance_norm, layer_norm
from .recurrent import gru, lstm
from .reduction import argmax, max, mean, min, sum  # noqa: A004 - as NumPy calls them
from .resampling import average_pool, global_average_pool, max_pool, resize, upsample
from .tensor import (
    Parameter,
    Tensor,
    constant,
    input,  # noqa: A004 - as Keras says it
    parameter,
    scope,
)
from .weighted import conv, conv_transpose, embedding, linear
from .weights import Filled, Initialiser, Normal, Uniform, truncated_normal

__all__ = [
    "Filled",
    "Identity",
    "Initialiser",
    "Network",
    "Normal",
    "Orthogonal",
    "Parameter",
    "Tensor",
    "Uniform",
    "VarianceScaling",
    "abs",
    "add",
    "argmax",
    "attention",
    "average_pool",
    "batch_norm",
    "both",
    "broadcast",
    "cast",
    "clip",
    "concat",
    "constant",
    "conv",
    "conv_transpose",
    "crop",
    "cross_entropy",
    "dropout",
    "either",
    "embedding",
    "equal",
    "exp",
    "expm1",
    "flatten",
    "gelu",
    "global_average_pool",
    "glorot_normal",
    "glorot_uniform",
    "graph",
    "greater",
    "greater_equal",
    "group_norm",
    "gru",
    "hard_swish",
    "he_normal",
    "he_uniform",
    "input",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "lecun_normal",
    "lecun_uniform",
    "less",
    "less_equal",
    "linear",
    "log",
    "log1p",
    "log_softmax",
    "lstm",
    "max",
    "max_pool",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "network",
    "not_equal",
    "one_hot",
    "pad",
    "parameter",
    "power",
    "prelu",
    "relu",
    "reshape",
    "resize",
    "scope",
    "sigmoid",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "square",
    "sum",
    "swish",
    "tanh",
    "transpose",
    "truncated_normal",
    "upsample",
    "where",
]
