# SPDX-License-Identifier: MIT
"""Loads ONNX models from files, bytes or protobufs; the only door for bytes from outside."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TypeAlias

from google.protobuf.message import DecodeError
from onnx import FunctionProto, ModelProto

from ..errors import ModelError, RanvierError, UnsupportedError
from ..ir import Type
from .build import Builder, FunctionKey, Model, Scope, build_graph
from .declarations import declared_type
from .external import ExternalData, about, open_regular
from .model import ImportedModel
from .names import name
from .schemas import NEWEST, check_opset

Source: TypeAlias = "str | Path | bytes | ModelProto"

OLDEST_IR, NEWEST_IR = 3, 14
MAX_BYTES = 2**31 - 1
"""protobuf cannot hold more; larger models keep their tensors in external data."""


def load(model: Source, folder: str | Path | None = None) -> ImportedModel:
    """Read an ONNX model.

    Args:
        model: path of a file, its bytes, or a protobuf that was read before.
        folder: where external data are found for a model that is not given by its path.

    Returns:
        The model as it states itself: model-local functions inlined, constants as
        parameters, nodes in topological order, regions closed.

    Raises:
        ModelError: the model is damaged, hostile or breaks the standard.
        UnsupportedError: the model is valid but uses what this version does not know.
    """
    file = Path(model).name if isinstance(model, str | Path) else "model"
    if isinstance(model, str | Path) and folder is None:
        folder = Path(model).parent
    external = ExternalData(Path(folder) if folder is not None else None)
    with about(file):
        proto = model if isinstance(model, ModelProto) else _parse(model)
        try:
            return _import(proto, file, external)
        except RanvierError:
            raise
        # What a damaged protobuf may still raise from the libraries that take it apart.
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise ModelError(f"damaged: {error}") from error
        except RecursionError as error:
            raise ModelError("nested too deeply") from error


def _parse(model: str | Path | bytes) -> ModelProto:
    data = model if isinstance(model, bytes) else _read(Path(model))
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"not an ONNX model or truncated ({len(data)} bytes): {error}") from error
    return proto


def _read(path: Path) -> bytes:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise ModelError(
                f"{size} bytes; a model file has at most {MAX_BYTES}, larger models "
                "keep their tensors in external data"
            )
        return file.read(MAX_BYTES)


def _import(proto: ModelProto, file: str, external: ExternalData) -> ImportedModel:
    if not proto.HasField("graph"):
        raise ModelError("the model has no graph; is it an ONNX file?")
    if not OLDEST_IR <= proto.ir_version <= NEWEST_IR:
        raise UnsupportedError(
            f"IR version {proto.ir_version} is not supported; {OLDEST_IR} to {NEWEST_IR} are"
        )
    opsets = _opsets(proto)
    model = Model(file, external, _functions(proto))
    graph = build_graph(proto.graph, Scope(Builder(model), opsets), initialised=True)
    return ImportedModel(
        graph=graph,
        file=file,
        output_types=_output_types(proto, model),
        ir_version=int(proto.ir_version),
        opsets=opsets,
        producer=f"{name(proto.producer_name)} {name(proto.producer_version)}".strip(),
        metadata={name(p.key): name(p.value) for p in proto.metadata_props},
    )


def _opsets(proto: ModelProto) -> dict[str, int]:
    opsets: dict[str, int] = {}
    local = {_plain(f.domain) for f in proto.functions}
    for entry in proto.opset_import:
        domain = _plain(entry.domain)
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise ModelError(f"operator set '{domain or 'ai.onnx'}' is imported in two versions")
        # Exporters import domains that they do not use; what is used is checked at each node.
        if domain in NEWEST and domain not in local:
            check_opset(domain, entry.version)
    return opsets


def _plain(domain: object) -> str:
    text = name(domain)
    return "" if text == "ai.onnx" else text


def _functions(proto: ModelProto) -> dict[FunctionKey, FunctionProto]:
    functions: dict[FunctionKey, FunctionProto] = {}
    for function in proto.functions:
        key = (_plain(function.domain), name(function.name), name(function.overload))
        if key in functions:
            raise ModelError(f"function {key[0]}.{key[1]} is defined twice")
        functions[key] = function
    return functions


def _output_types(proto: ModelProto, model: Model) -> tuple[Type, ...]:
    names = [name(info.name) for info in proto.graph.output]
    for output, count in Counter(names).items():
        if count > 1:
            raise ModelError(f"output '{output}' is declared {count} times")
    return tuple(declared_type(info.type, model.symbols) for info in proto.graph.output)
