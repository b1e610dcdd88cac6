# SPDX-License-Identifier: MIT
"""The program of a batch and the update work on the same arrays."""

from __future__ import annotations

import numpy as np
import pytest

from ranvier.frontend import builder as nn
from ranvier.frontend.builder import Network, Tensor
from ranvier.ir import Array
from ranvier.runtime.buffers import aligned_empty
from ranvier.runtime.team import Workers
from ranvier.training.groups import ClipNorm, Group, MaxNorm
from ranvier.training.model import as_model
from ranvier.training.optimizers import LAMB, LARS, SGD, AdamW, Optimizer
from ranvier.training.programs import BatchProgram, Task, field_types, learning_graph
from ranvier.training.schedules import Cosine
from ranvier.training.update import Average, Updater


def network(samples: int) -> Network:
    """A convolution, a batch norm and a linear layer."""
    x = nn.input("image", (samples, 2, 6, 5))
    y = nn.relu(nn.batch_norm(nn.conv(x, 8, 3, padding=1, bias=False, name="conv"), name="norm"))
    return nn.network("tiny", [x], {"y": nn.linear(nn.global_average_pool(y), 3, name="fc")})


def squares(output: Tensor, target: Tensor) -> Tensor:
    """The mean of squared differences."""
    return nn.mean(nn.square(output - target))


def batch() -> dict[str, Array]:
    """Return images and what is to be told of them."""
    rng = np.random.default_rng(4)
    image = rng.standard_normal((16, 2, 6, 5)).astype(np.float32)
    target = np.stack([image[:, 0].mean((1, 2)), np.abs(image).mean((1, 2, 3)), image[:, 1, 2, 2]])
    return {"image": image, "target": np.ascontiguousarray(target.T.astype(np.float32))}


@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1, 0.9), AdamW(0.02), LARS(1.0, coefficient=0.1), LAMB(0.05)],
    ids=lambda o: o.name,
)
def test_a_network_learns(optimizer: Optimizer) -> None:
    """Gradients are where the update reads them, parameters where the batch reads them."""
    first = network(1).initial(0, scheme="training")
    model = as_model(network, weights=first)
    learned = tuple(k for k in first if k in model.trainable)
    task = Task(model, squares, None, tuple(first), learned)
    joint = learning_graph(task, field_types(batch()), {})
    workers = Workers(2)
    updater = Updater(
        {k: first[k] for k in learned},
        optimizer,
        groups=[Group("fc.weight", constraint=MaxNorm(5.0))],
        clip=ClipNorm(10.0),
        average=Average(0.9),
        threads=workers,
    )
    statistics = {k: aligned_empty(a.shape, a.dtype) for k, a in first.items() if k not in learned}
    for name, array in statistics.items():
        array[...] = first[name]
    variables = {**updater.parameters, **statistics}
    program = BatchProgram(joint, variables, updater.gradients, workers)
    schedule, losses = Cosine(40, 0.1, warm_up=4), []
    for step in range(40):
        losses.append(program.run(batch()).loss)
        program.count_statistics()
        updater.accumulate()
        updater.step(optimizer.learning_rate * schedule(step))
    assert losses[-1] < 0.5 * losses[0]
    assert np.isfinite(losses).all()
