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
from .elementwise import (
    add,
    clip,
    dropout,
    gelu,
    hard_swish,
    leaky_relu,
    multiply,
    not_equal,
    prelu,
    relu,
    sigmoid,
    softmax,
    swish,
    tanh,
)
from .movement import broadcast, concat, crop, flatten, pad, reshape, split, transpose
from .network import Network, graph, network
from .normalization import batch_norm, group_norm, instance_norm, layer_norm
from .recurrent import gru, lstm
from .resampling import average_pool, global_average_pool, max_pool, resize, upsample
from .tensor import Parameter, Tensor, input, parameter, scope  # noqa: A004 - as Keras says it
from .weighted import conv, conv_transpose, embedding, linear
from .weights import Uniform

__all__ = [
    "Network",
    "Parameter",
    "Tensor",
    "Uniform",
    "add",
    "attention",
    "average_pool",
    "batch_norm",
    "broadcast",
    "clip",
    "concat",
    "conv",
    "conv_transpose",
    "crop",
    "dropout",
    "embedding",
    "flatten",
    "gelu",
    "global_average_pool",
    "graph",
    "group_norm",
    "gru",
    "hard_swish",
    "input",
    "instance_norm",
    "layer_norm",
    "leaky_relu",
    "linear",
    "lstm",
    "max_pool",
    "multiply",
    "network",
    "not_equal",
    "pad",
    "parameter",
    "prelu",
    "relu",
    "reshape",
    "resize",
    "scope",
    "sigmoid",
    "softmax",
    "split",
    "swish",
    "tanh",
    "transpose",
    "upsample",
]
