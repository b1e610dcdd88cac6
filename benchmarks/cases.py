# SPDX-License-Identifier: MIT
"""What is measured: ONNX files with their inputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ranvier.errors import InputError

Shapes = Mapping[str, Sequence[int]]

FOLDER_VARIABLE = "RANVIER_BENCH_MODELS"
"""Names the folder with the models of the standard set."""

SHORT: Sequence[tuple[str, Mapping[str, int]]] = (
    ("resnet18", {"size": 128}),
    ("unet2d", {"size": 128, "width": 16}),
    ("unet3d", {"size": 32, "width": 8}),
)
"""Models of the zoo, and their sizes, that take seconds rather than minutes."""


@dataclass(frozen=True)
class Case:
    """A model to measure.

    Attributes:
        name: what reports call it.
        model: the ONNX file.
        inputs: a .npz file of its inputs; random ones are drawn where there is none.
        shapes: sizes of inputs that the model leaves open.
        module: folder with the torch module that the file was exported from, if known.
    """

    name: str
    model: Path
    inputs: Path | None = None
    shapes: Shapes = field(default_factory=dict)
    module: Path | None = None


def case_of(model: Path, shapes: Shapes | None = None) -> Case:
    """Return the case of an ONNX file, with what lies beside it.

    ``inputs.npz`` beside ``NAME/model.onnx``, or ``NAME.npz`` beside ``NAME.onnx``, holds its
    inputs; ``NAME/module.json`` and ``NAME/module.safetensors`` its torch module.

    Raises:
        InputError: there is no such file.
    """
    if model.is_dir():
        model /= "model.onnx"
    if not model.is_file():
        raise InputError(f"{model}: no such model; expected NAME.onnx or a folder with model.onnx")
    own_folder = model.name == "model.onnx"
    name = model.parent.resolve().name if own_folder else model.stem
    inputs = model.with_name("inputs.npz") if own_folder else model.with_suffix(".npz")
    has_module = own_folder and model.with_name("module.json").is_file()
    return Case(
        name,
        model,
        inputs if inputs.is_file() else None,
        shapes or {},
        model.parent if has_module else None,
    )


def cases_in(folder: Path) -> list[Case]:
    """Return the cases of a folder of ``NAME/model.onnx`` and ``NAME.onnx``, by name."""
    models = [*folder.glob("*/model.onnx"), *folder.glob("*.onnx")]
    return sorted((case_of(model) for model in models), key=lambda case: case.name)


def standard_cases() -> list[Case]:
    """Return the cases of the folder that ``RANVIER_BENCH_MODELS`` names; none if it is unset."""
    folder = os.environ.get(FOLDER_VARIABLE)
    return cases_in(Path(folder)) if folder else []


def short_cases(folder: Path) -> list[Case]:
    """Write small models of the zoo to ``folder`` and return their cases."""
    return [zoo_case(name, folder, options) for name, options in SHORT]


def zoo_case(name: str, folder: Path, options: Mapping[str, int] | None = None) -> Case:
    """Write a model of ranvier's zoo, with seeded weights, to ``folder`` and return its case.

    Raises:
        LayerError: there is no such model or option.
    """
    from ranvier.frontend import zoo
    from ranvier.frontend.export import export, save_onnx

    model = folder / f"{name}.onnx"
    save_onnx(export(zoo.build(name, **(options or {}))), model)
    return Case(name, model)


def feed_of(case: Case, seed: int = 0) -> dict[str, Any]:
    """Return the inputs of a case: those of its file, or random ones.

    Floats are normal; integers that choose rows of a constant table lie within it, as token
    numbers do; all others are 0 or 1, which are valid as flags, masks and small indices.

    Raises:
        InputError: a size or an element type is open, or the file of inputs is damaged.
    """
    if case.inputs is not None:
        # Imported here: engines' processes know cases, but load nothing of ranvier's runtime.
        from ranvier.cli.arrays import load_arrays

        return dict(load_arrays(case.inputs))
    import onnx

    graph = onnx.load(str(case.model), load_external_data=False).graph
    constants = {t.name: list(t.dims) for t in graph.initializer}
    random = np.random.default_rng(seed)
    return {
        value.name: _random(value, case, _rows(graph, constants, value.name), random)
        for value in graph.input
        if value.name not in constants
    }


def _random(value: Any, case: Case, rows: int, random: np.random.Generator) -> Any:
    from onnx import helper

    tensor = value.type.tensor_type
    if not tensor.elem_type:
        raise InputError(f"{case.model}: input {value.name!r} is no tensor; give a .npz of inputs")
    shape = case.shapes.get(value.name)
    if shape is None:
        if not all(d.HasField("dim_value") for d in tensor.shape.dim):
            sizes = "x".join(str(d.dim_value or d.dim_param or "?") for d in tensor.shape.dim)
            raise InputError(
                f"{case.model}: input {value.name!r} is {sizes}; give its sizes with "
                f"--shapes {value.name}=..., or a .npz of inputs"
            )
        shape = [d.dim_value for d in tensor.shape.dim]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if dtype.kind in "biu":
        return random.integers(0, rows, tuple(shape)).astype(dtype)
    return random.standard_normal(tuple(shape)).astype(dtype)


def _rows(graph: Any, constants: Mapping[str, Sequence[int]], name: str) -> int:
    """Return how many rows the smallest constant table has that ``name`` chooses from, or 2."""
    names = {name}
    for node in graph.node:  # in topological order
        if node.op_type in {"Cast", "Identity"} and node.input[0] in names:
            names.add(node.output[0])
    return min(
        (
            constants[node.input[0]][0]
            for node in graph.node
            if node.op_type == "Gather" and node.input[1] in names and node.input[0] in constants
        ),
        default=2,
    )
