# SPDX-License-Identifier: MIT
"""A model with its loss, optimizer and parameters: steps, scores, predictions, files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError, NonFiniteError
from ..frontend.builder.augmentation import Augmentation
from ..frontend.export import save_onnx
from ..ir import Array, TensorType
from ..runtime.buffers import aligned_empty
from ..runtime.team import Workers, thread_count
from .batches import Batches
from .callbacks import Callback
from .checkpoint import Checkpoint, identity_of, load_checkpoint, require_same_model
from .diagnosis import first_non_finite
from .fitting import Fitting
from .groups import ClipNorm, ClipValue, Group
from .history import History
from .kpis import Kpis
from .losses import LossFunction
from .metrics import Metric
from .model import Model, Trainable, as_model
from .optimizers import Optimizer
from .programs import (
    INDEX,
    KEY,
    BatchProgram,
    Fields,
    JointGraph,
    Task,
    field_types,
    inference_graph,
    learning_graph,
    scoring_graph,
)
from .schedules import Schedule
from .scores import Scores
from .snapshot import PARAMETERS, Position, restore, save, under
from .target_checks import check_targets
from .update import Average, Updated, Updater

Make: TypeAlias = Callable[[Task, Mapping[str, TensorType], Fields], JointGraph]


@dataclass(frozen=True)
class Options:
    """How to train, apart from model, loss and optimizer.

    Attributes:
        seed: of the weights of networks.
        threads: processor threads; ``None`` for one per core. Results do not depend on it.
        memory: ``full`` keeps every intermediate result for the gradients, ``mid`` computes
            again what is cheap, ``low`` what lowers the need; a number of bytes as much as that
            takes.
        frozen: patterns (``*`` and ``?``) of names of parameters that stay as they are; the
            statistics of a batch norm stay where those of its mean match.
        groups: parameters that are updated otherwise than the rest.
        clip: bound of gradients.
        average: whether a running mean of the weights is kept, which scores and exports use.
        accumulate: batches whose gradients are averaged to one update.
        momentum: weight of old running statistics of batch norms.
        find_non_finite: whether a loss that is not finite is traced to the op that it came
            from, by interpreting the step once.

    Raises:
        InputError: a number is out of range.
    """

    seed: int = 0
    threads: int | None = None
    memory: str | int = "full"
    frozen: tuple[str, ...] = ()
    groups: tuple[Group, ...] = ()
    clip: ClipNorm | ClipValue | None = None
    average: Average | None = None
    accumulate: int = 1
    momentum: float = 0.9
    find_non_finite: bool = True

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise InputError(f"Options: accumulate={self.accumulate} must be at least 1")
        if not 0 <= self.momentum < 1:
            raise InputError(f"Options: momentum={self.momentum} must be from 0 to below 1")


class Trainer:
    """Trains a model and keeps what a run is made of: parameters, optimizer, position, figures.

    Fields of a batch that are called like inputs of the model are its data; what remains is
    the target. A loss gets the model's output and the target, or mappings by name where there
    are several.

    Args:
        model: a network, a function from the number of samples to a network, or an ONNX model.
        loss: of outputs and targets, written with the builder; see
            :mod:`ranvier.training.losses`.
        optimizer: how gradients change parameters.
        metrics: counted over validation data, by name.
        schedule: what the optimizer's learning rate is multiplied by, per update; one that
            reduces on a plateau watches ``val_loss``, or ``loss`` without validation.
        augmentation: changes fields inside the compiled graph; see
            :mod:`ranvier.frontend.builder.augmentation`. Scores and predictions leave out what
            is random, but crop and normalise as training does.
        options: everything else.

    Attributes:
        position: how far the run is.
        history: figures of its epochs and steps.
        stopped: why the last ``fit`` ended before its time; empty if it did not.

    Raises:
        InputError: nothing would be trained.
        ModelError: an ONNX model is damaged.

    >>> from ranvier.frontend import builder as nn
    >>> from ranvier.training import losses, optimizers
    >>> def net(samples):
    ...     x = nn.input("x", (samples, 4))
    ...     return nn.network("net", [x], {"y": nn.linear(x, 2, name="fc")})
    >>> trainer = Trainer(net, losses.CrossEntropy(), optimizers.SGD(0.1))
    >>> batch = {"x": np.ones((3, 4), np.float32), "label": np.array([0, 0, 1])}
    >>> first = trainer.train_step(batch)["loss"]
    >>> trainer.train_step(batch)["loss"] < first
    True
    """

    def __init__(
        self,
        model: Trainable | Model,
        loss: LossFunction,
        optimizer: Optimizer,
        *,
        metrics: Mapping[str, Metric[Any]] | None = None,
        schedule: Schedule | None = None,
        augmentation: Augmentation | None = None,
        options: Options = Options(),
    ) -> None:
        self.options = options
        self.model = as_model(model, seed=options.seed)
        self.metrics = dict(metrics or {})
        self.optimizer = optimizer
        self.schedule = schedule
        self.history = History()
        self.position = Position()
        self.stopped = ""
        parameters = self.model.parameters
        variables = tuple(k for k in parameters if not _matches(k, options.frozen))
        learned = tuple(k for k in variables if k in self.model.trainable)
        if not learned:
            raise InputError(
                f"model '{self.model.name}': every parameter is frozen by "
                f"{list(options.frozen)}; there is nothing to train"
            )
        self._workers = Workers(thread_count(options.threads))
        self.updater = Updater(
            {k: parameters[k] for k in learned},
            optimizer,
            groups=options.groups,
            clip=options.clip,
            average=options.average,
            threads=self._workers,
        )
        learned = tuple(k for k in learned if k in self.updater.gradients)
        self.task = Task(
            self.model, loss, augmentation, variables, learned, options.frozen, options.momentum
        )
        self.statistics = {
            k: _copied(parameters[k]) for k in variables if k not in self.model.trainable
        }
        self._frozen = {k: a for k, a in parameters.items() if k not in variables}
        self._programs: dict[tuple[Any, ...], BatchProgram] = {}
        self.pending: dict[str, Array] = {}

    # Parameters

    def parameters(self) -> dict[str, Array]:
        """Return every parameter and statistic by name; those that change are not copies."""
        found = {**self._frozen, **self.statistics, **self.updater.parameters}
        return {name: found[name] for name in self.model.parameters}

    def set_parameters(self, values: Mapping[str, Array]) -> None:
        """Let parameters and statistics hold ``values``; what is left out stays.

        Args:
            values: arrays by name. Frozen ones are constants of what is compiled, so that
                others are compiled anew.

        Raises:
            InputError: there is no such parameter, or it has another shape or type.
        """
        known = self.parameters()
        for name, array in values.items():
            if name not in known:
                raise InputError(f"model '{self.model.name}' has no parameter '{name}'")
            if (array.shape, array.dtype) != (known[name].shape, known[name].dtype):
                raise InputError(
                    f"parameter '{name}' is {known[name].dtype} {list(known[name].shape)}, "
                    f"found {array.dtype} {list(array.shape)}"
                )
        self.updater.assign({k: a for k, a in values.items() if k in self.updater.parameters})
        for name, array in values.items():
            if name in self.statistics:
                np.copyto(self.statistics[name], array)
            elif name in self._frozen and not np.array_equal(array, known[name]):
                self._frozen[name] = _copied(array)
                self._programs.clear()

    def load_weights(
        self, source: Mapping[str, Array] | str | PathLike[str], *, partial: bool = False
    ) -> list[str]:
        """Take over parameters of another run or model, for example all but its head.

        Args:
            source: arrays by name, or a checkpoint.
            partial: whether only those are taken that are there by name and shape; otherwise
                all must be.

        Returns:
            The names that were not taken.

        Raises:
            InputError: one is missing or does not fit, and not ``partial``.
            CheckpointError: the checkpoint cannot be read.
        """
        arrays = source if isinstance(source, Mapping) else _weights_of(Path(source))
        own = self.parameters()
        fitting = {
            k: a
            for k, a in arrays.items()
            if k in own and own[k].shape == a.shape and own[k].dtype == a.dtype
        }
        left = sorted((own.keys() | arrays.keys()) - fitting.keys())
        if left and not partial:
            raise InputError(
                f"model '{self.model.name}': parameter '{left[0]}' is not in both, or of another "
                "shape; partial=True takes over what fits"
            )
        self.set_parameters({k: a for k, a in fitting.items() if not np.array_equal(a, own[k])})
        return left

    # Batches

    def train_step(self, fields: Fields) -> dict[str, float]:
        """Learn from one batch and return its figures: loss, learning rate, gradient norm.

        With ``accumulate`` above 1, parameters change with the last of so many batches alone.

        Raises:
            InputError: fields do not fit the model or the loss.
            NonFiniteError: the loss or a gradient is not finite.
        """
        return self.learn(fields, None) or {}

    def learn(
        self, fields: Fields, scores: Scores | None, *, now: bool = False
    ) -> dict[str, float] | None:
        """Learn from a batch; return figures if parameters were updated.

        Args:
            fields: of the batch.
            scores: where it is counted.
            now: whether parameters are updated though not enough batches are accumulated.
        """
        program = self._program(learning_graph, fields)
        self._check_targets(program, fields)
        result = program.run(fields)
        if not math.isfinite(result.loss):
            raise NonFiniteError(self._diagnosis(program, f"the loss is {result.loss}"))
        program.count_statistics()
        self.position.batch += 1
        if scores is not None:
            scores.add(result, fields)
        last = now or self.position.accumulated + 1 >= self.options.accumulate
        if not last or self.position.accumulated:
            self.updater.accumulate()
            self.position.accumulated += 1
        return {"loss": result.loss, **self.update()} if last else None

    def update(self) -> dict[str, float]:
        """Update the parameters by the gradients so far; return rate and gradient norm."""
        rate = self.learning_rate
        updated = self.updater.step(rate)
        self.position.accumulated = 0
        if not updated.finite:
            raise NonFiniteError(self._damage(updated))
        self.position.step += 1
        return {"learning_rate": rate, "grad_norm": updated.norm}

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        if self.schedule is None:
            return self.optimizer.learning_rate
        return self.optimizer.learning_rate * self.schedule(self.position.step)

    def evaluate(self, data: Batches, *, prefix: str = "") -> dict[str, float]:
        """Return the loss and every metric over one epoch of data.

        The mean of the weights is scored where one is kept.

        Args:
            data: batches; a smaller one at the end counts by its samples.
            prefix: what the figures' names start with.

        Raises:
            InputError: fields do not fit, or there is no batch.
        """
        scores = Scores(self.metrics, self.model)
        with self._averaged():
            for fields in data.epoch(0):
                program = self._program(scoring_graph, fields)
                self._check_targets(program, fields)
                scores.add(program.run(fields), fields)
        return scores.figures(prefix)

    def predict(self, data: Batches | Fields) -> dict[str, Array]:
        """Return the model's outputs by name, for a batch of fields or for an epoch of data."""
        batches: Iterable[Fields] = [data] if isinstance(data, Mapping) else data.epoch(0)
        parts: dict[str, list[Array]] = {name: [] for name in self.model.outputs}
        with self._averaged():
            for fields in batches:
                found = self._program(inference_graph, fields).run(fields).outputs
                for name, array in found.items():
                    parts[name].append(array.copy())
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}

    def planned_memory(self, fields: Fields) -> int:
        """Return the bytes of intermediate results that learning from such a batch takes.

        The batch is not run; what it takes is compiled.
        """
        return self._program(learning_graph, fields).arena_bytes

    # Runs

    def fit(
        self,
        data: Batches,
        epochs: int,
        *,
        validation: Batches | None = None,
        callbacks: Sequence[Callback] = (),
        kpis: Kpis | None = None,
    ) -> History:
        """Learn from data until ``epochs`` epochs are done, those before a resume included.

        Args:
            data: batches of training.
            epochs: how many times all of them are seen.
            validation: scored after every epoch; figures are called ``val_`` and more.
            callbacks: called around steps and epochs.
            kpis: measures times and samples of the run.

        Returns:
            Figures of every epoch and step.

        Raises:
            NonFiniteError: the loss or a gradient is not finite.
            InputError: fields do not fit the model or the loss.
        """
        Fitting(self, data, epochs, validation, callbacks).run(kpis or Kpis())
        return self.history

    def resume(self, path: str | PathLike[str]) -> Checkpoint:
        """Take up a run where a checkpoint was written; it goes on bit for bit.

        Raises:
            CheckpointError: the file is damaged, or of another model.
            InputError: it is of another optimizer.
        """
        checkpoint = load_checkpoint(Path(path))
        require_same_model(checkpoint, identity_of(self.parameters()))
        restore(self, checkpoint)
        return checkpoint

    def save(self, path: str | PathLike[str]) -> None:
        """Write a checkpoint from which :meth:`resume` goes on.

        Raises:
            CheckpointError: it cannot be written; a file of that name is untouched.
        """
        save(self, Path(path), {})

    def export(self, path: str | PathLike[str]) -> None:
        """Write the model with its parameters as ONNX; an ONNX model as it was stated.

        The mean of the weights is written where one is kept.
        """
        with self._averaged():
            proto = self.model.export(self.parameters())
        save_onnx(proto, Path(path))

    # Programs

    def _program(self, make: Make, fields: Fields) -> BatchProgram:
        types = field_types(fields)
        key = (make, *sorted((k, t) for k, t in types.items() if k != INDEX))
        if key not in self._programs:
            learns = make is learning_graph
            self._programs[key] = BatchProgram(
                make(self.task, types, self._frozen),
                {**self.statistics, **self.updater.parameters},
                {k: self.updater.gradients[k] for k in self.task.learned} if learns else {},
                self._workers,
                self.options.memory if learns else "full",
            )
        return self._programs[key]

    def _check_targets(self, program: BatchProgram, fields: Fields) -> None:
        """Check labels on the host: inside a graph a wrong one would count for nothing."""
        count = len(program.joint.outputs)
        shapes = {
            name: v.type.dims
            for name, v in zip(
                program.joint.outputs, program.joint.graph.outputs[:count], strict=True
            )
            if isinstance(v.type, TensorType)
        }
        targets = {k: a for k, a in fields.items() if k not in {*self.model.inputs, KEY, INDEX}}
        check_targets(self.task.loss, shapes, targets, fields.get(INDEX))

    def _averaged(self) -> _Exchanged:
        return _Exchanged(self.updater)

    def _diagnosis(self, program: BatchProgram, what: str) -> str:
        """Say where in the model a loss ceased to be finite."""
        where = f"step {self.position.step} (epoch {self.position.epoch}): {what}"
        if not self.options.find_non_finite:
            return f"{where}; Options(find_non_finite=True) finds where it came from"
        found = first_non_finite(program.joint.graph, program.inputs)
        if found is None:
            return f"{where}, though it is finite when interpreted; please report this"
        return f"{where}; {found}. Parameters are as before the step"

    def _damage(self, updated: Updated) -> str:
        """Say which gradients were not finite."""
        names = [k for k, g in self.updater.parameters.items() if not np.isfinite(g).all()]
        state = (
            f"parameters such as '{names[0]}' are damaged; resume from the last checkpoint"
            if names
            else "parameters are as before the step"
        )
        return (
            f"step {self.position.step} (epoch {self.position.epoch}): the norm of the gradients "
            f"is {updated.norm} though the loss is finite; {state}. A lower learning rate or "
            "Options(clip=ClipNorm(...)) may help"
        )


class _Exchanged:
    """Within the block, parameters hold their running means, where those are kept."""

    def __init__(self, updater: Updater) -> None:
        self._updater = updater
        self._kept: dict[str, Array] = {}

    def __enter__(self) -> None:
        for name, mean in self._updater.averages.items():
            self._kept[name] = self._updater.parameters[name].copy()
            np.copyto(self._updater.parameters[name], mean)

    def __exit__(self, *about: object) -> None:
        for name, array in self._kept.items():
            np.copyto(self._updater.parameters[name], array)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _copied(array: Array) -> Array:
    copy = aligned_empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def _weights_of(path: Path) -> dict[str, Array]:
    return under(load_checkpoint(path).arrays, PARAMETERS)


__all__ = ["Options", "Trainer"]
