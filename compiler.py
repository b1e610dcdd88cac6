# SPDX-License-Identifier: MIT
"""The way of a model through frontend, passes and codegen to an artifact that runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .codegen.build import Built, build
from .codegen.locations import ArenaBuffer
from .codegen.lowering.base import LOWERINGS
from .codegen.targets import Target, parse_target, parse_targets
from .errors import InputError, UnsupportedError
from .frontend.canonical import model_of, whole
from .frontend.load import load
from .frontend.model import ImportedModel
from .frontend.specialise import NeedsInputs, Stage, specialise
from .ir.graph import Graph
from .ir.op import Composite, Op
from .ir.printer import print_graph
from .ir.structure import Structure, leaves, structures_of
from .ir.types import TensorType, Type, numpy_dtype
from .passes import run_passes
from .passes.pipelines import CANONICAL, TARGET_READY
from .passes.plan_memory import Buffer, plan
from .passes.registry import Observer
from .runtime.artifact import Artifact, Specialisation, is_artifact, join_variants
from .runtime.executor import Executor
from .runtime.keys import key_of
from .runtime.manifest import ModelInfo
from .runtime.program import value_spec
from .runtime.session import Session as RuntimeSession
from .runtime.stages import Following, Result, flatten

if TYPE_CHECKING:
    from onnx import ModelProto


Shapes = Mapping[str, Sequence[int]]
Model: TypeAlias = "str | PathLike[str] | bytes | ModelProto | ImportedModel | Graph"
"""An ONNX model as a path, bytes or in memory, or a canonical graph of fixed shapes."""

ACCURACIES = ("default", "strict")


def compile(
    model: Model,
    target: str = "cpu",
    shapes: Shapes | Sequence[Shapes] | None = None,
    accuracy: str = "default",
) -> Artifact:
    """Compile an ONNX model or a graph.

    A model whose shapes are all fixed is compiled at once. A dynamic one is compiled for
    ``shapes``; a :class:`Session` of the model compiles further ones as they come.

    Args:
        model: path, bytes or ``ModelProto`` of an ONNX model, or a canonical graph, such as
            the builder and the zoo of :mod:`ranvier.frontend` make.
        target: ``cpu``, ``cpu{march=...}`` or ``cuda{arch=...}``; several processors joined
            by ``+``, as in ``cpu{march=x86-64-v3+x86-64-v4}``, give an artifact with code for
            each, of which that for the best that is there runs.
        shapes: sizes of each input by name, or several such mappings.
        accuracy: ``default``, or ``strict`` for convolutions by their definition alone: results
            within 1e-5 instead of 1e-4 of float64, relative to the largest.

    Raises:
        ModelError: the model is damaged or breaks the standard.
        UnsupportedError: the model uses what this version does not support, or its code
            depends on input values and cannot be compiled ahead of time.
        InputError: ``shapes`` does not fit the model.
        TargetError: no such target.
    """
    loaded = model if isinstance(model, Graph) else _loaded(model)
    targets = parse_targets(target)
    artifacts = [Compiler(loaded, t.name, accuracy).ahead(shapes) for t in targets]
    return join_variants(artifacts, any_machine=True)


class Session(RuntimeSession):
    """A model ready to run, in the manner of onnxruntime; compiles for new shapes as they come.

    Args:
        model: an ONNX model (path, bytes or ``ModelProto``), a canonical graph, an artifact, or
            the path of one.
        threads: processor threads that a run uses; ``None`` for one a processor core.
        target: what to compile a model for.
        accuracy: as for :func:`compile`.
    """

    def __init__(
        self,
        model: Model | Artifact,
        threads: int | None = None,
        target: str = "cpu",
        accuracy: str = "default",
    ) -> None:
        if isinstance(model, Artifact) or (
            isinstance(model, str | PathLike) and is_artifact(model)
        ):
            super().__init__(model, threads)
            return
        compiler = Compiler(model, target, accuracy)
        super().__init__(compiler.artifact, threads, compiler.specialise)


class Compiler:
    """Compiles one model for one target, shape by shape and stage by stage.

    Attributes:
        model: the imported model, or a graph in its place.
        artifact: holds what has been compiled so far.
    """

    def __init__(
        self,
        model: Model,
        target: str = "cpu",
        accuracy: str = "default",
        observe: Observer | None = None,
    ) -> None:
        if accuracy not in ACCURACIES:
            raise InputError(f"accuracy must be one of {', '.join(ACCURACIES)}, found {accuracy!r}")
        self.target = replace(parse_target(target), accuracy=accuracy)
        self._whole = isinstance(model, Graph)
        self.model = _loaded(model)
        self.artifact = Artifact(_model_info(self.model), self.target.info())
        self._stages: dict[str, Graph] = {"": self.model.graph}
        self._observe = observe

    def ahead(self, shapes: Shapes | Sequence[Shapes] | None = None) -> Artifact:
        """Compile for ``shapes``, or the model's own if they are fixed; return the artifact.

        Raises:
            InputError: ``shapes`` names no input, or sizes do not fit.
            UnsupportedError: the code depends on values of inputs.
        """
        sets = [shapes] if isinstance(shapes, Mapping) else list(shapes or [])
        if not sets and not _is_fixed(self.model.graph):
            return self.artifact
        for one in sets or [{}]:
            structures = bound_types(self.model.graph, one)
            self._compile("", structures, None)
        return self.artifact

    def specialise(self, stage: str, arrays: Sequence[Any]) -> Specialisation:
        """Compile a stage for concrete inputs, one value per stage input."""
        return self._compile(stage, structures_of(arrays), arrays)

    def _compile(
        self, name: str, structures: tuple[Structure, ...], arrays: Sequence[Any] | None
    ) -> Specialisation:
        stage, bound = self.stage(name, structures, arrays)
        ready = target_ready(stage.graph, self.target, self._observe)
        built = build(ready, self.target, arena_plan, stage.checks)
        given = _examples(structures) if arrays is None else arrays
        following = self._following(stage)
        result = Specialisation(
            key=key_of(given, bound, name),
            program=built.program,
            library=built.library,
            weights=built.weights,
            graph=built.text,
            results=tuple(Result(s.name, _layout(s.structure)) for s in stage.results),
            following=following,
        )
        self.artifact.add(result)
        return result

    def imported_stage(self, name: str) -> Graph:
        """Return the imported graph of a stage that has been met."""
        return self._stages[name]

    def stage(
        self, name: str, structures: tuple[Structure, ...], arrays: Sequence[Any] | None
    ) -> tuple[Stage, tuple[int, ...]]:
        """Specialise a stage; return it and which of its inputs' values it is made for.

        Raises:
            UnsupportedError: values are needed and ``arrays`` is ``None``.
        """
        graph = self._stages[name]
        if self._whole:
            return whole(graph, structures), ()
        values: dict[str, Any] = {}
        bound: tuple[int, ...] = ()
        while True:
            try:
                return specialise(graph, structures, values, file=self.model.file), bound
            except NeedsInputs as needed:
                if arrays is None:
                    raise _ahead_error(self.model, needed) from needed
                bound = _owners(graph, structures, needed.names)
                values = _leaf_values(graph, structures, arrays, bound)

    def _following(self, stage: Stage) -> Following | None:
        if stage.rest is None:
            return None
        text = print_graph(stage.rest)
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._stages[name] = stage.rest
        return Following(name, tuple(v.name for v in stage.rest.inputs))


def target_ready(
    graph: Graph,
    target: Target,
    observe: Observer | None = None,
    memory: Mapping[str, Any] | None = None,
) -> Graph:
    """Run the passes from a canonical graph to one of kernels for ``target``.

    Args:
        graph: canonical.
        target: what its kernels are for.
        observe: called after each pass.
        memory: options of the pass ``rematerialise``: ``level`` or ``budget``.
    """

    def supports(op: Op, types: tuple[Type, ...]) -> bool:
        return target.supports(op, *types)

    def keeps(op: Op, types: tuple[Type, ...]) -> bool:
        return target.keeps(op, *types)

    keep = frozenset(_lowered_composites())
    options: dict[str, dict[str, Any]] = {
        "recognise-composites": {"attention": "attention" in keep},
        "split-normalization": {"wanted": target.normalises},
        "split-sums": {"wanted": target.sums_slabs},
        "expand-composites": {"keep": keep, "keep_if": keeps},
        "partition": {"supports": supports},
        "fuse": {"supports": supports, "join_in_place": target.unit is not None},
        "rematerialise": dict(memory or {}),
    }
    return run_passes(graph, (*CANONICAL, *TARGET_READY), options=options, observe=observe)


def arena_plan(buffers: Sequence[ArenaBuffer]) -> tuple[Mapping[str, int], int]:
    """Place buffers by the memory planning pass."""
    placed = plan([Buffer(b.name, b.nbytes, b.first, b.last) for b in buffers])
    return placed.offsets, placed.total


def run_canonical(graph: Graph, inputs: Sequence[Any], target: str = "cpu") -> list[Any]:
    """Compile a canonical graph of static shapes and run it once."""
    chosen = parse_target(target)
    built = build_canonical(graph, chosen)
    arrays = [np.asarray(array) for array in flatten(inputs)]
    return Executor(built.program, built.library, built.weights).run(arrays)


def build_canonical(graph: Graph, target: Target) -> Built:
    """Compile a canonical graph of static shapes."""
    return build(target_ready(graph, target), target, arena_plan)


def _loaded(model: Model) -> ImportedModel:
    if isinstance(model, ImportedModel):
        return model
    if isinstance(model, Graph):
        return model_of(model)
    return load(Path(model) if isinstance(model, PathLike) else model)


def _lowered_composites() -> Iterator[str]:
    for op in LOWERINGS:
        if issubclass(op, Composite):
            yield op.name


def _model_info(model: ImportedModel) -> ModelInfo:
    inputs = tuple(value_spec(v.name, v.type) for v in model.graph.inputs)
    outputs = tuple(
        value_spec(v.name, t) for v, t in zip(model.graph.outputs, model.output_types, strict=True)
    )
    return ModelInfo(model.graph.name, inputs, outputs)


def _is_fixed(graph: Graph) -> bool:
    return all(isinstance(v.type, TensorType) and v.type.is_static for v in graph.inputs)


def bound_types(graph: Graph, shapes: Shapes) -> tuple[Structure, ...]:
    """Return the types of the inputs with their symbolic sizes bound by ``shapes``."""
    names = [v.name for v in graph.inputs]
    unknown = sorted(set(shapes) - set(names))
    if unknown:
        raise InputError(f"shapes: no input '{unknown[0]}'; inputs: {', '.join(names)}")
    return tuple(_bound_type(v.name, v.type, shapes.get(v.name)) for v in graph.inputs)


def _bound_type(name: str, type: Type, shape: Sequence[int] | None) -> Structure:
    if not isinstance(type, TensorType):
        raise InputError(f"shapes: input '{name}' is {type}; it is compiled when it is met")
    if shape is None:
        if not type.is_static:
            raise InputError(f"shapes: input '{name}' is {type}; give its sizes")
        return type
    if len(shape) != type.rank or any(
        isinstance(d, int) and d != n for d, n in zip(type.shape, shape, strict=True)
    ):
        raise InputError(f"shapes: input '{name}' is {type}, found {list(shape)}")
    return TensorType(type.dtype, tuple(map(int, shape)))


def _examples(structures: Sequence[Structure]) -> list[Any]:
    """Return arrays of these types that take no memory, to make a key of."""
    return [
        np.broadcast_to(np.zeros((), numpy_dtype(s.dtype)), s.dims)
        for s in structures
        if isinstance(s, TensorType)
    ]


def _ahead_error(model: ImportedModel, needed: NeedsInputs) -> UnsupportedError:
    names = ", ".join(sorted(needed.names))
    return UnsupportedError(
        f"{model.file}: the code depends on the values of {names}, which are not known ahead "
        "of time; run the model in a Session, which compiles when it meets them"
    )


def _owners(
    graph: Graph, structures: Sequence[Structure], names: frozenset[str]
) -> tuple[int, ...]:
    """Return the numbers of the inputs that have a leaf among ``names``."""
    return tuple(
        k
        for k, (value, structure) in enumerate(zip(graph.inputs, structures, strict=True))
        if any(leaf in names for leaf, _ in leaves(structure, value.name))
    )


def _leaf_values(
    graph: Graph, structures: Sequence[Structure], arrays: Sequence[Any], bound: Sequence[int]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for k in bound:
        named = (name for name, _ in leaves(structures[k], graph.inputs[k].name))
        values.update(zip(named, flatten([arrays[k]]), strict=True))
    return values


def _layout(structure: Structure) -> str:
    if structure is None:
        return "n"
    if isinstance(structure, TensorType):
        return "t"
    return f"({''.join(map(_layout, structure))})"


__all__ = [
    "Compiler",
    "Session",
    "build_canonical",
    "compile",
    "run_canonical",
    "target_ready",
]
