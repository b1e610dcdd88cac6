# SPDX-License-Identifier: MIT
"""Loss and gradients of a batch as one compiled program over arrays that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from precision import in_float64
from ranvier.errors import ExecutionError, InputError
from ranvier.frontend import builder as nn
from ranvier.frontend import zoo
from ranvier.frontend.builder import Network, Tensor
from ranvier.ir import Array, interpret, verify
from ranvier.runtime.buffers import aligned_empty
from ranvier.runtime.team import Workers
from ranvier.training.model import as_model
from ranvier.training.programs import (
    BatchProgram,
    JointGraph,
    Task,
    field_types,
    learning_graph,
    scoring_graph,
)


def squares(output: Tensor, target: Tensor) -> Tensor:
    """A loss of one's own: the sum of squared differences."""
    difference = nn.reshape(output - target, (1, output.type.size))
    return nn.reshape(difference @ nn.transpose(difference, (1, 0)), ())


def tiny(samples: int) -> Network:
    """A convolution, a batch norm and a linear layer."""
    x = nn.input("image", (samples, 2, 6, 5))
    y = nn.relu(nn.batch_norm(nn.conv(x, 5, 3, padding=1, bias=False, name="conv"), name="norm"))
    scores = nn.linear(nn.global_average_pool(y), 3, name="fc")
    return nn.network("tiny", [x], {"scores": scores})


def batch_of(samples: int) -> dict[str, Array]:
    rng = np.random.default_rng(samples)
    return {
        "image": rng.standard_normal((samples, 2, 6, 5)).astype(np.float32),
        "score": rng.standard_normal((samples, 3)).astype(np.float32),
        "index": np.arange(samples),
    }


def arrays_like(arrays: Mapping[str, Array]) -> dict[str, Array]:
    made = {k: aligned_empty(a.shape, a.dtype) for k, a in arrays.items()}
    for name, array in arrays.items():
        np.copyto(made[name], array)
    return made


def task_of(frozen: tuple[str, ...] = ()) -> Task:
    model = as_model(tiny)
    variables = tuple(k for k in model.parameters if k not in frozen)
    learned = tuple(k for k in variables if k in model.trainable)
    return Task(model, squares, None, variables, learned)


def joint_of(task: Task, samples: int, *, training: bool = True) -> JointGraph:
    types = field_types(batch_of(samples))
    return graph_of(training)(task, types, task.model.parameters)


def graph_of(training: bool) -> Callable[..., JointGraph]:
    return learning_graph if training else scoring_graph


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_are_those_of_the_graph_in_float64(threads: int) -> None:
    task, batch = task_of(), batch_of(4)
    joint = joint_of(task, 4)
    verify(joint.graph)
    variables = arrays_like(task.model.parameters)
    gradients = {k: aligned_empty(variables[k].shape, np.float32) for k in task.learned}
    program = BatchProgram(joint, variables, gradients, Workers(threads))
    result = program.run(batch)
    program.count_statistics()
    given = [batch[k] for k in joint.fields] + [task.model.parameters[k] for k in task.variables]
    expected = interpret(in_float64(joint.graph), [a.astype(np.float64) for a in given])
    assert result.loss == pytest.approx(float(expected[3]), rel=1e-5)
    np.testing.assert_allclose(result.outputs["scores"], expected[0], rtol=1e-4, atol=1e-5)
    for name, value in zip(joint.updated, expected[1:3], strict=True):
        np.testing.assert_allclose(variables[name], value, rtol=1e-5, atol=1e-6)
    for gradient, value in zip(gradients.values(), expected[4:], strict=True):
        scale = np.abs(value).max()
        np.testing.assert_allclose(gradient / scale, value / scale, atol=2e-5)


def test_following_the_gradients_lowers_the_loss() -> None:
    task, batch = task_of(), batch_of(4)
    variables = arrays_like(task.model.parameters)
    gradients = {k: aligned_empty(variables[k].shape, np.float32) for k in task.learned}
    program = BatchProgram(joint_of(task, 4), variables, gradients, Workers(1))
    losses = []
    for _ in range(30):
        losses.append(program.run(batch).loss)
        for name, gradient in gradients.items():
            variables[name] -= np.float32(0.05) * gradient
    assert losses[-1] < 0.2 * losses[0]


def test_evaluation_uses_running_statistics_and_changes_nothing() -> None:
    task, batch = task_of(), batch_of(3)
    joint = joint_of(task, 3, training=False)
    variables = arrays_like(task.model.parameters)
    result = BatchProgram(joint, variables, {}, Workers(1)).run(batch)
    graph = tiny(3).graph(weights=task.model.parameters)
    (scores,) = interpret(graph, [batch["image"]])
    np.testing.assert_allclose(result.outputs["scores"], scores, rtol=1e-5, atol=1e-6)
    assert result.loss == pytest.approx(float(((scores - batch["score"]) ** 2).sum()), rel=1e-5)
    assert not joint.updated


def test_frozen_parameters_are_constants() -> None:
    task = task_of(frozen=("conv.weight",))
    joint = joint_of(task, 2)
    assert "conv.weight" not in {v.name for v in joint.graph.inputs}
    assert "gradient.conv.weight" not in {v.name for v in joint.graph.outputs}
    assert "gradient.fc.weight" in {v.name for v in joint.graph.outputs}


def test_an_augmentation_gets_keys_in_training_alone() -> None:
    def negated(fields: Mapping[str, Tensor], keys: Tensor | None) -> dict[str, Tensor]:
        if keys is None:
            return {"image": fields["image"] * 2}
        assert keys.shape == (2, 4)
        return {"image": fields["image"] * -1}

    plain = task_of()
    task = replace(plain, augmentation=negated)
    batch = {**batch_of(2), "key": np.zeros((2, 4), np.uint32)}
    other = {**batch, "image": -batch["image"]}
    double = {**batch, "image": 2 * batch["image"]}
    variables = arrays_like(task.model.parameters)
    types = field_types(batch)
    found = []
    for one, fields, training in (
        (task, batch, True),
        (plain, other, True),
        (task, batch, False),
        (plain, double, False),
    ):
        joint = graph_of(training)(one, types, {})
        learned = task.learned if training else ()
        gradients = {k: aligned_empty(variables[k].shape, np.float32) for k in learned}
        found.append(BatchProgram(joint, variables, gradients, Workers(1)).run(fields).loss)
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[2] == pytest.approx(found[3], rel=1e-6)


def test_what_does_not_fit_is_said() -> None:
    task = task_of()
    types = field_types(batch_of(2))
    with pytest.raises(InputError, match=r"no field 'image', which is an input; it has: score"):
        learning_graph(task, {"score": types["score"]}, {})
    wrong = {**types, "image": field_types({"x": np.zeros((2, 3, 6, 5), np.float32)})["x"]}
    with pytest.raises(InputError, match=r"input 'image' is float32\['N', 2, 6, 5\]|image"):
        learning_graph(task, wrong, {})
    whole = {**types, "image": field_types({"x": np.zeros((2, 2, 6, 5), np.uint8)})["x"]}
    with pytest.raises(InputError, match=r"the data has uint8\[2, 2, 6, 5\]; convert it"):
        learning_graph(task, whole, {})
    loose = replace(task, loss=lambda y, t: y - t)
    with pytest.raises(InputError, match=r"the loss is float32\[2, 3\], expected one number"):
        learning_graph(loose, types, {})


def test_layers_must_not_depend_on_the_size_of_a_batch() -> None:
    def odd(samples: int) -> Network:
        x = nn.input("image", (samples, 2, 6, 5))
        return nn.network("odd", [x], {"y": nn.linear(nn.flatten(x), samples, name="fc")})

    model = as_model(odd)
    with pytest.raises(InputError, match="must not depend on the size of a batch"):
        model.graph({"image": (3, 2, 6, 5)}, (), {})


def test_a_model_of_one_size_takes_no_other() -> None:
    model = as_model(zoo.network("resnet18", batch=2, size=32, classes=3, width=4))
    with pytest.raises(InputError, match=r"input 'image' is .*, the data has \[3, 3, 32, 32\]"):
        model.graph({"image": (3, 3, 32, 32)}, (), {})


def test_a_token_that_does_not_exist_is_refused() -> None:
    def words(samples: int) -> Network:
        tokens = nn.input("tokens", (samples, 3), "int64")
        y = nn.embedding(tokens, 7, 4, name="words")
        return nn.network("words", [tokens], {"scores": nn.linear(nn.flatten(y), 3, name="fc")})

    model = as_model(words)
    names = tuple(model.parameters)
    task = Task(model, squares, None, names, names)
    batch = {"tokens": np.array([[0, 6, 3], [1, 2, 3]]), "score": np.zeros((2, 3), np.float32)}
    variables = arrays_like(model.parameters)
    gradients = {k: aligned_empty(variables[k].shape, np.float32) for k in names}
    joint = learning_graph(task, field_types(batch), {})
    program = BatchProgram(joint, variables, gradients, Workers(1))
    assert np.isfinite(program.run(batch).loss)
    batch["tokens"][1, 1] = 7
    with pytest.raises(ExecutionError, match=r"an index is outside \[-7, 7\)"):
        program.run(batch)
