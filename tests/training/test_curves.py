# SPDX-License-Identifier: MIT
"""Loss curves beside torch: same initial weights, data and order, its optimizers and autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pytest

pytest.importorskip("torch")

from gradients import Problem, aligned, problem
from precision import in_float64
from ranvier.frontend import zoo
from ranvier.ir import Array
from ranvier.runtime.team import Workers
from ranvier.training.model import as_model
from ranvier.training.optimizers import SGD, AdamW, Optimizer
from ranvier.training.programs import BatchProgram
from ranvier.training.update import Updater
from torch_graph import evaluate, tensor_of, torch

STEPS = 200
Batches: TypeAlias = Sequence[Mapping[str, Array]]
MODELS: Mapping[str, Mapping[str, int]] = {
    "resnet18": {"batch": 8, "size": 32, "classes": 5, "width": 8},
    "unet2d": {"batch": 4, "size": 32, "width": 4, "depth": 2},
}
Kind: TypeAlias = tuple[Optimizer, Callable[[Any], Any]]


def sgd(rate: float) -> Kind:
    peer = partial(torch.optim.SGD, lr=rate, momentum=0.9, weight_decay=1e-4)
    return SGD(rate, momentum=0.9, weight_decay=1e-4), peer


def adamw(rate: float) -> Kind:
    return AdamW(rate, weight_decay=1e-2), partial(torch.optim.AdamW, lr=rate, weight_decay=1e-2)


def open_case(reason: str) -> Any:
    return pytest.mark.xfail(raises=AssertionError, strict=True, reason=reason)


CASES = [
    pytest.param("unet2d", sgd(1e-2), id="unet2d-sgd"),
    pytest.param("unet2d", adamw(3e-4), id="unet2d-adamw"),
    pytest.param("resnet18", adamw(3e-4), id="resnet18-adamw"),
    pytest.param(
        "unet2d",
        adamw(1e-3),
        id="unet2d-adamw-fast",
        marks=open_case("2.3e-3 apart at the end; torch in float32 was not compared"),
    ),
    pytest.param(
        "resnet18",
        sgd(1e-3),
        id="resnet18-sgd",
        marks=open_case("2e-2 apart from step 12 on, where torch in float32 stays within 5e-5"),
    ),
    pytest.param(
        "resnet18",
        sgd(1e-2),
        id="resnet18-sgd-fast",
        marks=open_case("0.8 apart; torch in float32 leaves torch in float64 as well, at step 6"),
    ),
]


def ours(one: Problem, batches: Batches, optimizer: Optimizer) -> list[float]:
    updater = Updater({k: one.parameters[k] for k in one.task.learned}, optimizer, threads=1)
    variables = {k: aligned(a) for k, a in one.parameters.items()} | dict(updater.parameters)
    program = BatchProgram(one.joint, variables, updater.gradients, Workers(1))
    losses = []
    for step in range(STEPS):
        losses.append(program.run(batches[step % len(batches)]).loss)
        updater.step()
    return losses


def theirs(one: Problem, batches: Batches, optimizer: Callable[[Any], Any]) -> list[float]:
    graph = in_float64(one.forward)
    weights = {k: tensor_of(a).clone() for k, a in one.parameters.items()}
    descent = optimizer([weights[k].requires_grad_() for k in one.task.learned])
    losses = []
    for step in range(STEPS):
        batch = {k: tensor_of(a) for k, a in batches[step % len(batches)].items()}
        descent.zero_grad()
        loss = evaluate(graph, [{**batch, **weights}[v.name] for v in graph.inputs])[-1]
        loss.backward()
        descent.step()
        losses.append(float(loss.detach()))
    return losses


def labelled(one: Problem, rng: np.random.Generator) -> dict[str, Array]:
    """Return a batch to classify; pixels by their sign, images by chance."""
    image = rng.standard_normal(one.batch["image"].shape).astype(np.float32)
    pixels = one.batch["toward.0"].ndim == 4
    labels = np.asarray(image[:, 0] > 0, np.int64) if pixels else rng.integers(0, 5, len(image))
    none = np.zeros_like(one.batch["toward.0"])
    return {**one.batch, "image": image, "toward.0": none, "labels.0": labels}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_losses_follow_those_of_torch(name: str, kind: Kind) -> None:
    model = as_model(zoo.network(name, **MODELS[name]))
    rng = np.random.default_rng(5)
    batch = {k: rng.standard_normal(t.dims).astype(np.float32) for k, t in model.inputs.items()}
    one = problem(model, batch)
    batches = [labelled(one, rng) for _ in range(4)]
    one = replace(one, batch=batches[0])
    optimizer, peer = kind
    found, expected = ours(one, batches, optimizer), theirs(one, batches, peer)
    assert np.abs(np.subtract(found, expected)).max() <= 1e-3
    assert np.mean(found[-4:]) < 0.9 * np.mean(found[:4])
