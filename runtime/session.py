# SPDX-License-Identifier: MIT
"""Runs a model in the manner of onnxruntime, picking the code for the shapes at hand."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from ..errors import ArtifactError, ExecutionError, InputError, UnsupportedError
from .artifact import Artifact, Specialisation
from .dlpack import array_from_dlpack
from .dtypes import Array
from .executor import BoundRun, Executor, ProgramExecutor, require_bindable
from .feeds import check_feed, closest
from .keys import Key, key_of
from .manifest import ModelInfo
from .ort_types import NodeArg, node_arg
from .program import KernelInfo, TensorSpec
from .stages import flatten, unflatten
from .team import Workers, thread_count

Specialise = Callable[[str, Sequence[Any]], Specialisation]
"""Compiles a stage (empty name: the whole model) for concrete inputs, one per stage input."""

Signature = tuple[Any, ...]
"""Element type and shape of every input, one after another."""

_MAX_EXECUTORS = 32
_MAX_STAGES = 1000


@dataclass(frozen=True)
class Profile:
    """One run, step by step.

    Attributes:
        outputs: what ``run`` would have returned.
        steps: every step with its seconds, in the order of execution.
    """

    outputs: list[Any]
    steps: list[tuple[KernelInfo, float]]

    @property
    def seconds(self) -> float:
        """Time of all steps together."""
        return sum(seconds for _, seconds in self.steps)


@dataclass(frozen=True)
class Plan:
    """How to run inputs whose types have been checked.

    Attributes:
        executor: of the whole model.
        order: for each of the model's outputs its number among the program's; ``None`` if
            they are the same.
    """

    executor: ProgramExecutor
    order: list[int] | None


class Session:
    """A model ready to run.

    Args:
        artifact: a compiled model, or the path of its folder.
        threads: processor threads that a run uses; ``None`` for as many as there are
            processor cores that this process may use. Results do not depend on the number.
            Runs at the same time do not wait for each other: one has the threads, the others
            use their caller's own.
        specialise: called for shapes that the artifact does not hold; what it returns is
            added to the artifact.

    Raises:
        ArtifactError: the artifact is damaged or does not fit this machine.
        InputError: ``threads`` is no positive number.
    """

    def __init__(
        self,
        artifact: Artifact | str | PathLike[str],
        threads: int | None = None,
        specialise: Specialise | None = None,
    ) -> None:
        self.threads = thread_count(threads)
        if not isinstance(artifact, Artifact):
            artifact = Artifact.load(artifact)
        self.artifact = artifact
        self._specialise = specialise
        self._executors: OrderedDict[Key, tuple[ProgramExecutor, Specialisation]] = OrderedDict()
        self._workers = Workers(self.threads)
        self._lock = threading.RLock()
        self._compiling = threading.Lock()
        self._bound_inputs: dict[str, Array] = {}
        self._bound_outputs: dict[str, Array] = {}
        self._bound_run: BoundRun | None = None
        self._names = [spec.name for spec in artifact.model.inputs]
        self._output_names = [spec.name for spec in artifact.model.outputs]
        self._plans: dict[Signature, Plan] = {}
        # A single set of shapes is prepared now, so that damage shows here and not in `run`.
        if len(artifact.keys) == 1:
            self._prepare(artifact.keys[0])

    @property
    def model(self) -> ModelInfo:
        """Inputs and outputs as the model declares them."""
        return self.artifact.model

    def get_inputs(self) -> list[NodeArg]:
        """Return name, type and shape of each input."""
        return [node_arg(spec) for spec in self.model.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Return name, type and shape of each output."""
        return [node_arg(spec) for spec in self.model.outputs]

    def run(self, output_names: Sequence[str] | None, feed: Mapping[str, Any]) -> list[Any]:
        """Return the named outputs (all for ``None``) for the inputs in ``feed``.

        Args:
            output_names: which outputs, in this order.
            feed: input names and NumPy arrays (lists for sequences).

        Raises:
            InputError: an input is missing, unknown, or of the wrong type or shape.
            ExecutionError: the data is invalid, such as an index out of range.
            ArtifactError: the artifact has no code for these shapes.
        """
        wanted = None if output_names is None else self._wanted(output_names)
        results = self._run_planned(feed)
        if results is None:
            results = self._run(check_feed(self.model.inputs, feed))
        return results if wanted is None else [results[k] for k in wanted]

    def run_dlpack(self, output_names: Sequence[str] | None, feed: Mapping[str, Any]) -> list[Any]:
        """Like :meth:`run`, for tensors of any library that speaks DLPack, without copies.

        The results are NumPy arrays, which other libraries take over by ``from_dlpack``,
        except those of types that NumPy lacks, such as bfloat16.
        """
        arrays = {name: array_from_dlpack(name, tensor) for name, tensor in feed.items()}
        return self.run(output_names, arrays)

    def profile(self, feed: Mapping[str, Any]) -> Profile:
        """Run once, step by step, and tell what each step took."""
        steps: list[tuple[KernelInfo, float]] = []
        results = self._run(check_feed(self.model.inputs, feed), steps)
        return Profile(results, steps)

    # Bound arrays

    def bind_input(self, name: str, array: Array) -> None:
        """Let :meth:`run_bound` read this input from ``array``, in place.

        The array must be contiguous and aligned; see :func:`~ranvier.runtime.aligned_empty`.

        Raises:
            InputError: no such input, or the array cannot be used in place.
        """
        spec = self.model.inputs[_index(name, self._names, "input")]
        self._bound_inputs[name] = _bindable(array, spec, "input")
        self._bound_run = None

    def bind_output(self, name: str, array: Array) -> None:
        """Let :meth:`run_bound` write this output to ``array``, in place.

        Raises:
            InputError: no such output, or the array cannot be used in place.
        """
        spec = self.model.outputs[_index(name, self._output_names, "output")]
        self._bound_outputs[name] = _bindable(array, spec, "output")
        self._bound_run = None

    def run_bound(self) -> None:
        """Run from the bound inputs to the bound outputs without copying or allocating.

        Several threads take turns, as they share the bound arrays.

        Raises:
            InputError: an input or output is not bound, or their shapes do not fit.
            UnsupportedError: the model's output shapes depend on data.
        """
        if self._bound_run is not None:
            self._bound_run()
            return
        inputs = check_feed(self.model.inputs, self._bound_inputs)
        missing = [s.name for s in self.model.outputs if s.name not in self._bound_outputs]
        if missing:
            raise InputError(f"output {missing[0]!r} is not bound; call bind_output first")
        executor, specialisation = self._executor("", inputs)
        if specialisation.following is not None:
            raise UnsupportedError(
                "the shapes of this model's outputs depend on data, so outputs cannot be "
                "bound; use run"
            )
        run = executor.bind(inputs, [self._bound_outputs[s.name] for s in self.model.outputs])
        if not any(specialisation.key.values):  # else other contents may need other code
            self._bound_run = run
        run()

    # Execution

    def _wanted(self, output_names: Sequence[str]) -> list[int]:
        if isinstance(output_names, str):
            raise InputError(f"output_names must be a list of names; use [{output_names!r}]")
        return [_index(name, self._output_names, "output") for name in output_names]

    def _run_planned(self, feed: Mapping[str, Any]) -> list[Any] | None:
        """Run inputs of types that were checked before; ``None`` if these were not.

        Whatever is not exactly as it was then takes the long way, where it is checked.
        """
        if type(feed) is not dict or len(feed) != len(self._names):
            return None
        arrays = [feed.get(name) for name in self._names]
        signature: Signature = ()
        for array in arrays:
            if type(array) is not np.ndarray:
                return None
            signature += (array.dtype, array.shape)
        plan = self._plans.get(signature)
        if plan is None:
            return None
        results = plan.executor.run(arrays)
        return results if plan.order is None else [results[k] for k in plan.order]

    def _plan(
        self, arrays: Sequence[Any], executor: ProgramExecutor, found: Specialisation
    ) -> None:
        """Note how to run inputs of these types, if their values and other stages play no part."""
        specs = (*self.model.inputs, *found.program.inputs)
        tensors = all(isinstance(s, TensorSpec) and s.dtype != "string" for s in specs)
        names = [result.name for result in found.results if result.layout == "t"]
        if (
            found.following is not None
            or any(found.key.values)
            or not tensors
            or len(names) != len(found.results)
            or not set(self._output_names) <= set(names)
        ):
            return
        order = [names.index(name) for name in self._output_names]
        signature: Signature = ()
        for array in arrays:
            signature += (array.dtype, array.shape)
        with self._lock:
            while len(self._plans) >= _MAX_EXECUTORS:
                del self._plans[next(iter(self._plans))]
            same = order == list(range(len(names)))
            self._plans[signature] = Plan(executor, None if same else order)

    def _run(
        self, arrays: list[Any], steps: list[tuple[KernelInfo, float]] | None = None
    ) -> list[Any]:
        env = dict(zip((spec.name for spec in self.model.inputs), arrays, strict=True))
        stage = ""
        for _ in range(_MAX_STAGES):
            executor, specialisation = self._executor(stage, arrays)
            if not stage:
                self._plan(arrays, executor, specialisation)
            if steps is None:
                results = executor.run(flatten(arrays))
            else:
                results, times = executor.profile(flatten(arrays))
                steps += times
            env.update(unflatten(specialisation.results, results))
            following = specialisation.following
            if following is None:
                return _named(env, self._output_names)
            stage, arrays = following.name, _named(env, following.inputs)
        raise ExecutionError(f"the model runs through more than {_MAX_STAGES} stages")

    def _executor(
        self, stage: str, arrays: Sequence[Any]
    ) -> tuple[ProgramExecutor, Specialisation]:
        """Return the executor for a stage's inputs, compiled if it is not there yet."""
        free = key_of(arrays, (), stage)
        key = self._known_key(free, arrays)
        if key is None:
            # One compilation at a time, while runs of other shapes go on.
            with self._compiling:
                key = self._known_key(free, arrays) or self._compile(free, arrays).key
        with self._lock:
            return self._prepare(key)

    def _known_key(self, free: Key, arrays: Sequence[Any]) -> Key | None:
        """Return the key of the code there is for these arrays."""
        with self._lock:
            if free in self._executors:
                return free
            for bound in self.artifact.bindings(free.types, free.stage):
                key = key_of(arrays, bound, free.stage) if bound else free
                if key in self._executors or key in self.artifact.keys:
                    return key
        return None

    def _prepare(self, key: Key) -> tuple[ProgramExecutor, Specialisation]:
        entry = self._executors.get(key)
        if entry is None:
            found = self.artifact.find(key)
            assert found is not None
            executor = self._make_executor(found)
            entry = self._executors[key] = (executor, found)
            if len(self._executors) > _MAX_EXECUTORS:
                self._executors.popitem(last=False)
        else:
            self._executors.move_to_end(key)
        return entry

    def _make_executor(self, found: Specialisation) -> ProgramExecutor:
        if self.artifact.target.kind == "cuda":
            # Imported here: a machine without a GPU needs none of it.
            from .cuda_executor import CudaExecutor

            return CudaExecutor(found.program, found.library, found.weights)
        return Executor(found.program, found.library, found.weights, self._workers)

    def _compile(self, key: Key, arrays: Sequence[Any]) -> Specialisation:
        if self._specialise is None:
            held = "; ".join(str(k) for k in self.artifact.keys if k.stage == key.stage)
            raise ArtifactError(
                f"the artifact has no code for inputs {key}; it holds: {held or 'nothing'}. "
                "Compile the model with these shapes, or run the model itself, which compiles "
                "as needed"
            )
        specialisation = self._specialise(key.stage, arrays)
        if (specialisation.key.types, specialisation.key.stage) != (key.types, key.stage):
            raise ArtifactError(f"asked for code for {key}, got it for {specialisation.key}")
        self.artifact.add(specialisation)
        return specialisation


def _named(env: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    for name in names:
        if name not in env:
            raise ArtifactError(f"no program of the artifact computes {name!r}")
    return [env[name] for name in names]


def _index(name: str, names: list[str], kind: str) -> int:
    if name not in names:
        raise InputError(f"the model has no {kind} {name!r}{closest(name, names)}")
    return names.index(name)


def _bindable(array: Array, spec: object, kind: str) -> Array:
    if not isinstance(spec, TensorSpec) or spec.dtype == "string":
        raise InputError(f"{kind} is {spec}, which cannot be bound; only tensors of numbers can")
    shape = tuple(map(int, getattr(array, "shape", ())))
    if not hasattr(array, "__array_interface__"):
        raise InputError(
            f"{kind} {spec.name!r} must be a NumPy array, found {type(array).__name__}"
        )
    require_bindable(array, TensorSpec(spec.name, spec.dtype, shape), kind)
    return array
