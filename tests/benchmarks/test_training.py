# SPDX-License-Identifier: MIT
"""Steps of training begin with equal weights, and are compared before they are timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from ranvier.benchmarks import report_html
from ranvier.benchmarks.app import commands
from ranvier.benchmarks.compare import Plan
from ranvier.benchmarks.networks import residual_unet
from ranvier.benchmarks.registry import TRAINING_ENGINES, engine_named
from ranvier.benchmarks.results import CaseResult, EngineResult, Report
from ranvier.benchmarks.suite import Settings, Training, jobs
from ranvier.benchmarks.training_cases import (
    COMPARED_STEPS,
    TRAINING_CASES,
    training_case,
    write_case,
)
from ranvier.benchmarks.training_engines import Steps
from ranvier.cli.arrays import load_arrays
from ranvier.errors import InputError
from ranvier.ir import interpret


def test_first_call_takes_the_steps_that_are_compared() -> None:
    losses = iter(range(100))
    steps = Steps(lambda feed: lambda: float(next(losses)))
    first = steps({})[0].tolist()
    assert first == list(range(COMPARED_STEPS))
    assert steps({})[0].tolist() == first
    assert next(losses) == COMPARED_STEPS + 1


@pytest.mark.parametrize("name", TRAINING_CASES)
def test_batch_has_a_class_for_all_that_is_scored(name: str) -> None:
    case = training_case(name)
    batch = case.batch(0)
    (scores,) = case.network(case.shape).outputs.values()
    assert scores.shape == (batch["label"].shape[0], case.classes, *batch["label"].shape[1:])
    assert batch["image"].shape == tuple(case.shape)
    assert batch["label"].min() >= 0
    assert batch["label"].max() < case.classes


def test_case_is_written_alike_twice(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    first, second = (write_case("unet2d", tmp_path / folder) for folder in ("a", "b"))
    assert first.model.read_bytes() == second.model.read_bytes()
    assert first.inputs is not None
    assert set(load_arrays(first.inputs)) == {"image", "label"}


def test_unknown_case_is_told() -> None:
    with pytest.raises(InputError, match=r"no case 'vgg' of training; there are: resnet8"):
        training_case("vgg")


@pytest.mark.parametrize("name", TRAINING_CASES)
def test_torch_has_the_same_network(name: str) -> None:
    torch = pytest.importorskip("torch")
    if name != "resnet18":
        pytest.importorskip("monai")
    from ranvier.benchmarks.torch_networks import MODULES, load_weights

    case = training_case(name)
    shape = (1, case.shape[1], *(32 for _ in case.shape[2:]))
    network = case.network(shape)
    weights = network.initial(0)  # no norm is an identity
    module = MODULES[name]()
    load_weights(module, weights)
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    (found,) = interpret(network.graph(weights=weights), [image])
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
    with pytest.raises(InputError, match="weights do not fit the torch module's"):
        load_weights(module, {**weights, next(iter(weights)): image[:0]})
    with pytest.raises(InputError, match=r"the torch module has no 'more\.weight'"):
        load_weights(module, {**weights, "more.weight": image})


def test_unet_halves_and_doubles() -> None:
    network = residual_unet((1, 1, 32, 48))
    assert next(iter(network.outputs.values())).shape == (1, 2, 32, 48)
    assert network.parameter_count == 1_625_161  # as MONAI counts


def test_engines_are_found_by_what_they_do() -> None:
    names = [engine.name for engine in TRAINING_ENGINES]
    assert names[0] == "ranvier"
    assert len(set(names)) == len(names)
    assert type(engine_named("ranvier")) is not type(engine_named("ranvier", "train"))


def test_jobs_of_training(tmp_path: Path) -> None:
    plan = Plan(["ranvier"], threads=1, cores=(0,))
    training = Training(["unet2d", "unet3d"], ["ranvier"])
    settings = Settings([], [1, 2], ["train"], plan, training=training)
    assert [name for name, _ in jobs(settings, tmp_path, print)] == [
        "unet2d, 1 threads: training",
        "unet3d, 1 threads: training",
        "unet2d, 2 threads: training",
        "unet3d, 2 threads: training",
        "unet2d: memory of training",
        "unet3d: memory of training",
    ]
    alone = Training(["unet2d"], ["ranvier"], memory=False, kernels=True)
    assert [name for name, _ in jobs(replace(settings, training=alone), tmp_path, print)][2:] == [
        "peaks of a core",
        "unet2d: kernels of training",
    ]


def test_page_shows_training() -> None:
    rounds: Any = [[0.1], [0.2]]
    engines = [
        EngineResult("ranvier", "timed", "", 1e-6, rounds, rounds),
        EngineResult("torch", "timed", "", 1e-6, rounds, rounds),
    ]
    result = CaseResult("unet9d", 1, [0], "torch, float64", [0.0, 0.0], engines)
    page = report_html.page(Report("now", {}, training=[result]))
    assert "<h2>Steps of training</h2>" in page
    assert "unet9d" in page


def test_unknown_model_is_a_usage_error() -> None:
    result = CliRunner().invoke(commands, ["train", "--model", "vgg16"])
    assert result.exit_code == 2
    assert "'unet3d'" in result.output
