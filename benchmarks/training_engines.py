# SPDX-License-Identifier: MIT
"""Runtimes that learn: a run is a step of training (forward, backward, SGD with momentum)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .cases import Case
from .engines import Feed, Ranvier, Run, hide_torch, require
from .own_engines import best_steps
from .torch_engines import TorchCompile
from .training_cases import COMPARED_STEPS, LEARNING_RATE, MOMENTUM, training_case

Step = Callable[[], float]
"""Learns from the batch once more and returns the loss before."""


class Steps:
    """Steps as a run: the first call takes those that are compared, every other call one.

    Args:
        begin: returns the step for a batch.
    """

    def __init__(self, begin: Callable[[Feed], Step]) -> None:
        self._begin = begin
        self._step: Step | None = None
        self._losses: list[float] = []

    def __call__(self, feed: Feed) -> Sequence[Any]:
        """Learn; return the losses of the first steps."""
        if self._step is None:
            self._step = self._begin(feed)
            self._losses = [self._step() for _ in range(COMPARED_STEPS)]
        else:
            self._step()
        return [np.array(self._losses)]


class RanvierTraining:
    """This project: the trainer's own step, with its checks."""

    name = Ranvier.name
    packages = Ranvier.packages
    needs_module = False

    def load(self) -> None:
        """Import trainer and compiler."""
        hide_torch()
        import ranvier.training.trainer  # noqa: F401

    def prepare(self, case: Case, threads: int) -> Run:
        """Make a trainer and compile its step."""
        trainer = trainer_of(case, threads)
        trainer.planned_memory(training_case(case.name).batch(0))

        def begin(feed: Feed) -> Step:
            return lambda: trainer.train_step(feed)["loss"]

        return Steps(begin)


def trainer_of(case: Case, threads: int) -> Any:
    """Return ranvier's trainer of a case, with its weights."""
    from safetensors.numpy import load_file

    from ranvier.training import losses, optimizers
    from ranvier.training.trainer import Options, Trainer

    chosen = training_case(case.name)
    trainer = Trainer(
        chosen.network(chosen.shape),
        losses.CrossEntropy(),
        optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
        options=Options(threads=threads),
    )
    trainer.load_weights(load_file(str(case.model)))
    return trainer


def profile(case: Case, feed: Feed, seconds: float, most: int) -> list[dict[str, Any]]:
    """Return what each kernel of ranvier's step is, with its shortest time of several runs.

    The update is not among them.
    """
    from ranvier.runtime.team import Workers
    from ranvier.training.programs import BatchProgram, field_types, learning_graph

    trainer = trainer_of(case, threads=1)
    program = BatchProgram(
        learning_graph(trainer.task, field_types(feed), {}),
        {**trainer.statistics, **trainer.updater.parameters},
        {k: trainer.updater.gradients[k] for k in trainer.task.learned},
        Workers(1),
    )
    program.run(feed)
    return best_steps(program.profile, seconds, most)


class TorchTraining:
    """torch, operation by operation, with its fused SGD.

    Args:
        channels_last: whether images and weights lie in that layout.
        double: whether it computes in float64.
    """

    packages: tuple[str, ...] = ("torch", "monai")
    needs_module = False

    def __init__(self, *, channels_last: bool = False, double: bool = False) -> None:
        self.channels_last = channels_last
        self.double = double

    @property
    def name(self) -> str:
        """What tables call it."""
        layout = ", channels last" if self.channels_last else ""
        return f"torch{layout}{', float64' if self.double else ''}"

    def load(self) -> None:
        """Import the library."""
        require("torch")

    def prepare(self, case: Case, threads: int) -> Run:
        """Return the step of the case's module."""
        import torch

        torch.set_num_threads(threads)
        module = self._placed(self._module(case))
        optimizer = torch.optim.SGD(
            module.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM, fused=True
        )
        forward = self._compiled(module)

        def begin(feed: Feed) -> Step:
            image = self._placed(torch.from_numpy(feed["image"]))
            label = torch.from_numpy(feed["label"])

            def step() -> float:
                optimizer.zero_grad(set_to_none=True)
                loss = torch.nn.functional.cross_entropy(forward(image), label)
                loss.backward()
                optimizer.step()
                return float(loss.item())

            return step

        return Steps(begin)

    def _module(self, case: Case) -> Any:
        from safetensors.numpy import load_file

        from .torch_networks import MODULES, load_weights

        module = MODULES[case.name]()
        load_weights(module, load_file(str(case.model)))
        return module.train()

    def _placed(self, what: Any) -> Any:
        """Return a module or a batch of images in the engine's type and layout."""
        import torch

        is_volume = _rank_of(what) == 5
        layout = torch.channels_last_3d if is_volume else torch.channels_last
        what = what.double() if self.double else what
        return what.to(memory_format=layout) if self.channels_last else what

    def _compiled(self, module: Any) -> Any:
        return module


class CompiledTorchTraining(TorchTraining):
    """torch.compile with Inductor, forward and backward; the optimizer is the fused one."""

    @property
    def name(self) -> str:
        """What tables call it."""
        return super().name.replace("torch", "torch.compile")

    def load(self) -> None:
        """Import the library; Inductor also needs a C++ compiler."""
        TorchCompile().load()

    def _compiled(self, module: Any) -> Any:
        import torch

        return torch.compile(module)


def _rank_of(what: Any) -> int:
    """Return the rank of images, or of the images that a module takes."""
    import torch

    if isinstance(what, torch.Tensor):
        return int(what.dim())
    return max(int(p.dim()) for p in what.parameters())
