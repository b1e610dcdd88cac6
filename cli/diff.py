# SPDX-License-Identifier: MIT
"""``ranvier diff``: a compiled model against the interpreter, and against onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Output
from .options import (
    Shapes,
    inputs_option,
    model_argument,
    seed_option,
    shapes_option,
    target_option,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..compiler import Compiler
    from .deviation import Deviation
    from .layers import Comparison, Layer

Json = dict[str, Any]


@click.command("diff", cls=Command)
@model_argument
@inputs_option
@shapes_option
@seed_option
@target_option
@click.option("--tolerance", type=float, help="Allowed error of floats; by element type else.")
@click.option("--all", "show_all", is_flag=True, help="Show every layer, not only the worst.")
def command(
    model: Path,
    inputs: Path | None,
    shapes: Shapes | None,
    seed: int,
    target: str,
    tolerance: float | None,
    show_all: bool,
) -> Output:
    """Compare MODEL compiled with the interpreter, layer by layer, and with onnxruntime.

    Every kernel is compared on the operands that it was given, so that an error shows where it
    arises. Errors are relative to the largest magnitude of the reference. Inputs are random
    unless given. Ends with exit code 1 if anything disagrees.
    """
    from ..compiler import Compiler
    from ..runtime.feeds import check_feed
    from .arrays import fit, load_arrays, random_feed
    from .layers import compare_layers
    from .progress import progress

    with progress(f"compiling {model}") as shown:
        compiler = Compiler(model, target)
        specs = compiler.artifact.model.inputs
        feed = fit(specs, load_arrays(inputs)) if inputs else random_feed(specs, shapes, seed)
        comparison = compare_layers(compiler, check_feed(specs, feed), tolerance, shown.say)
        shown.say("running onnxruntime")
        peer, remark = _onnxruntime(model, feed)
    data = _data(compiler, comparison, peer, remark)
    agree = data["agree"]
    return Output(data, lambda c: _render(c, comparison, data, show_all), 0 if agree else 1)


def _data(
    compiler: Compiler,
    comparison: Comparison,
    peer: Mapping[str, Any],
    remark: str,
) -> Json:
    specs, tolerance = compiler.artifact.model.outputs, comparison.tolerance
    pairs = zip(specs, comparison.outputs, comparison.reference, strict=True)
    outputs = [_output(s.name, v, r, peer.get(s.name), tolerance) for s, v, r in pairs]
    layers = [_describe(layer) for layer in comparison.layers]
    agree = all(item["agrees"] for item in (*outputs, *layers))
    return {"agree": agree, "outputs": outputs, "onnxruntime": remark, "layers": layers}


def _onnxruntime(model: Path, feed: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return onnxruntime's outputs by name, and its version or why there are none."""
    try:
        import onnxruntime
    except ImportError:
        return {}, "not installed"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # What the model says, literally: its rewrites of quantised models change results.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, dict(feed))
    except Exception as error:  # noqa: BLE001 - its errors have no common base, and are no error here
        return {}, f"cannot run this model: {str(error).splitlines()[0][:120]}"
    return dict(zip(names, values, strict=True)), onnxruntime.__version__


def _output(name: str, value: Any, reference: Any, peer: Any, tolerance: float) -> Json:
    from .deviation import deviation

    found = deviation(value, reference, tolerance)
    data: Json = {"name": name, "interpreter": _number(found), "agrees": found.agrees}
    if peer is not None:
        other = deviation(value, peer, tolerance)
        data |= {"onnxruntime": _number(other), "agrees": found.agrees and other.agrees}
    return data


def _describe(layer: Layer) -> Json:
    return {
        "stage": layer.stage,
        "label": layer.label,
        "source": layer.source,
        "on_host": layer.on_host,
        "error": _number(layer.deviation),
        "agrees": layer.deviation.agrees,
    }


def _number(found: Deviation) -> float | str:
    import math

    return found.error if math.isfinite(found.error) else str(found)


_SHOWN = 15


def _render(console: Console, comparison: Comparison, data: Json, show_all: bool) -> None:
    from .tables import table

    numbered = list(enumerate(comparison.layers))
    if not show_all:
        worst = sorted(numbered, key=lambda p: (p[1].deviation.agrees, -p[1].deviation.error))
        numbered = sorted(worst[:_SHOWN], key=lambda pair: pair[0])
    title = f"{len(comparison.layers)} layers" + (
        "" if show_all or len(numbered) == len(comparison.layers) else f", the {_SHOWN} worst"
    )
    console.print(table(title, (">", "layer", "from", ">error", ""), map(_row, numbered)))
    rows = [_output_row(output) for output in data["outputs"]]
    columns = ("output", ">vs interpreter", ">vs onnxruntime", "")
    console.print(table("Outputs", columns, rows))
    if not any("onnxruntime" in output for output in data["outputs"]):
        console.print(f"onnxruntime: {data['onnxruntime']}")
    console.print("all agree" if data["agree"] else "NOT all agree")


def _row(numbered: tuple[int, Layer]) -> Sequence[Any]:
    number, layer = numbered
    error = "on the host" if layer.on_host else str(layer.deviation)
    return number, layer.label, layer.source, error, _mark(layer.deviation.agrees)


def _output_row(output: Json) -> Sequence[Any]:
    numbers = (output["interpreter"], output.get("onnxruntime", "–"))
    shown = (f"{n:.1e}" if isinstance(n, float) else n for n in numbers)
    return output["name"], *shown, _mark(output["agrees"])


def _mark(agrees: bool) -> Any:
    from rich.text import Text

    return Text("ok", "green") if agrees else Text("differs", "bold red")
