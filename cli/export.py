# SPDX-License-Identifier: MIT
"""``ranvier export``: a model to ONNX, as it is or converted for fixed shapes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .command import Command, Output
from .options import Shapes, model_argument, shapes_option

if TYPE_CHECKING:
    from onnx import ModelProto
    from rich.console import Console


@click.command("export", cls=Command)
@model_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="FILE.onnx",
    help="The file, which appears whole or not at all.",
)  # fmt: skip
@click.option("--opset", type=int, metavar="N", help="Version of ai.onnx to write, 13 to 28.")
@shapes_option
def command(model: Path, output: Path, opset: int | None, shapes: Shapes | None) -> Output:
    """Write MODEL, an ONNX file, as ONNX again.

    As the model states itself by default, with its symbolic dimensions; with --opset (or
    --shapes) converted to canonical ops for its shapes and written at that opset.
    """
    from ..frontend.export import save_onnx
    from .progress import progress
    from .tables import size

    with progress(f"exporting {model}"):
        proto = _exported(model, opset, shapes)
        save_onnx(proto, output)
    version = next(o.version for o in proto.opset_import if not o.domain)
    nodes, bytes = len(proto.graph.node), output.stat().st_size
    data = {"file": str(output), "opset": version, "nodes": nodes, "bytes": bytes}

    def render(console: Console) -> None:
        console.print(f"{output}: {nodes} nodes at opset {version}, {size(bytes)}")

    return Output(data, render)


def _exported(model: Path, opset: int | None, shapes: Shapes | None) -> ModelProto:
    from ..errors import UnsupportedError
    from ..frontend.export import export
    from ..frontend.export_imported import export_imported
    from ..frontend.load import load

    imported = load(model)
    if shapes is None and opset in (None, imported.opsets.get("")):
        return export_imported(imported)
    from ..compiler import Compiler, bound_types

    structures = bound_types(imported.graph, shapes or {})
    stage, _ = Compiler(imported).stage("", structures, None)
    if stage.rest is not None:
        raise UnsupportedError(
            f"{model}: shapes depend on data, so that it has no form for fixed shapes; "
            "leave out --opset and --shapes to write it as it is"
        )
    hidden = [k for k, _ in stage.checks]
    own = imported.opsets.get("", 0)
    # The tensors of a sequence are outputs one by one and keep names of their own.
    single = len(stage.results) == len(stage.graph.outputs) - len(hidden)
    names = [slot.name for slot in stage.results] if single else []
    return export(stage.graph, own if opset is None else opset, hidden, names)
