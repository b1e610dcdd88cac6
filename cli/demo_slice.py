# SPDX-License-Identifier: MIT
"""``ranvier demo --slice``: two small networks on a real CT slice, compiled, compared and timed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, UnsupportedError
from .command import Output

if TYPE_CHECKING:
    from rich.console import Console

    from ..compiler import Compiler
    from ..ir.graph import Graph
    from ..ir.types import Array
    from .progress import Progress

MODELS = ("segmentation", "classification")
FOLDER = Path(__file__).parent / "models"

_SLICE = "CT_small.dcm"
_CENTRE, _WIDTH = 40.0, 400.0  # Hounsfield units: the customary window for soft tissue
_GRAPH_LINES = 12
_TIMING_SECONDS = 0.5


@dataclass(frozen=True)
class Row:
    """One network: sizes, seconds, and how far its results are from others'.

    Attributes:
        model: its name.
        parameters: numbers that were trained (here: drawn).
        flops: floating point operations of one run.
        kernels: distinct kernels.
        compile_seconds: from the file to code that runs; less if the cache has the kernels.
        run_seconds: median of several runs.
        interpreter_seconds: one run in the interpreter.
        onnxruntime_seconds: median, on one thread; ``None`` where it is not installed.
        interpreter_error: relative to the largest value.
        onnxruntime_error: likewise.
        agrees: whether the errors are within the tolerance.
    """

    model: str
    parameters: int
    flops: int
    kernels: int
    compile_seconds: float
    run_seconds: float
    interpreter_seconds: float
    onnxruntime_seconds: float | None
    interpreter_error: float
    onnxruntime_error: float | None
    agrees: bool


def run() -> Output:
    """Return what two networks make of a CT slice: import, compile, run, compare, time.

    The slice is a file of the pydicom package, the networks come with ranvier; their weights
    are random, so what they say of the picture means nothing. The exit code is 1 if the
    compiled networks, the interpreter and onnxruntime (where installed) do not agree.
    """
    from .progress import progress

    start = time.perf_counter()
    with progress("reading the slice", 1 + len(MODELS)) as shown:
        pixels, facts = _read_slice()
        window = _window_graph(pixels.shape, facts["slope"], facts["intercept"])
        image = _run_graph(window, pixels)
        shown.advance()
        rows, texts = [], {}
        for name in MODELS:
            row, texts[name] = _measure(name, {"image": image}, shown)
            rows.append(row)
            shown.advance()
    seconds = time.perf_counter() - start
    agree = all(row.agrees for row in rows)
    data = {
        "slice": facts,
        "models": [asdict(row) for row in rows],
        "agree": agree,
        "seconds": seconds,
    }

    def render(console: Console) -> None:
        _render(console, facts, str(window), texts, rows, seconds)

    return Output(data, render, 0 if agree else 1)


def _read_slice() -> tuple[Array, dict[str, Any]]:
    """Return stored pixels and what is needed to read them.

    Raises:
        UnsupportedError: pydicom is not installed.
        InputError: this pydicom comes without the slice.
    """
    try:
        import pydicom
        from pydicom.data import get_testdata_file
    except ImportError:
        raise UnsupportedError(
            "the demonstration reads a CT slice with pydicom; run: pip install pydicom"
        ) from None
    found = get_testdata_file(_SLICE, download=False)
    if not found:
        raise InputError(f"this installation of pydicom has no {_SLICE}; use pydicom 3")
    dataset = pydicom.dcmread(str(found))
    pixels = dataset.pixel_array
    facts = {
        "file": Path(str(found)).name,
        "modality": str(dataset.Modality),
        "rows": pixels.shape[0],
        "columns": pixels.shape[1],
        "spacing_mm": [float(d) for d in dataset.PixelSpacing],
        "slope": float(dataset.RescaleSlope),
        "intercept": float(dataset.RescaleIntercept),
    }
    return pixels, facts


def _window_graph(shape: tuple[int, ...], slope: float, intercept: float) -> Graph:
    """Return the graph from stored pixels to an image in [0, 1] of shape 1, 1, rows, columns.

    References:
        DICOM PS3.3 C.11.1 (modality LUT: rescaling to Hounsfield units), C.11.2 (VOI LUT).
    """
    from ..ir import Emitter, TensorType, ops

    emit = Emitter()
    stored = emit.argument(TensorType("int16", shape), "stored")
    x = emit(ops.Cast("float32"), stored)

    def scalar(number: float) -> Any:
        return emit.scalar_like(number, x)

    hounsfield = emit(ops.Add(), emit(ops.Mul(), x, scalar(slope)), scalar(intercept))
    low = scalar(_CENTRE - _WIDTH / 2)
    image = emit(ops.Div(), emit(ops.Sub(), hounsfield, low), scalar(_WIDTH))
    image = emit(ops.Minimum(), emit(ops.Maximum(), image, scalar(0)), scalar(1))
    return emit.graph("window", [stored], [emit(ops.Reshape((1, 1, *shape)), image)])


def _run_graph(graph: Graph, *arrays: Array) -> Array:
    from ..compiler import run_canonical

    (result,) = run_canonical(graph, list(arrays))
    array: Array = result
    return array


def _measure(name: str, feed: Mapping[str, Array], shown: Progress) -> tuple[Row, str]:
    """Compile, run, compare and time one network; return also its graph's text."""
    from ..compiler import Compiler
    from ..runtime.session import Session
    from ..runtime.step_info import program_flops
    from .deviation import deviation

    path = FOLDER / f"{name}.onnx"
    shown.say(f"{name}: compiling")
    start = time.perf_counter()
    compiler = Compiler(path, observe=lambda p, *_: shown.say(f"{name}: {p.name}"))
    session = Session(compiler.ahead({k: array.shape for k, array in feed.items()}), threads=1)
    compile_seconds = time.perf_counter() - start
    shown.say(f"{name}: running")
    (result,) = session.run(None, feed)
    run_seconds = _median(lambda: session.run(None, feed))
    shown.say(f"{name}: interpreting")
    expected, interpreter_seconds, text = _interpret(compiler, feed)
    shown.say(f"{name}: onnxruntime")
    peer, peer_seconds = _onnxruntime(path, feed)
    found = deviation(result, expected)
    other = None if peer is None else deviation(result, peer)
    (specialisation,) = session.artifact.specialisations()
    row = Row(
        model=name,
        parameters=sum(a.size for a in compiler.model.graph.parameters.values()),
        flops=program_flops(specialisation.program),
        kernels=len(specialisation.program.kernels),
        compile_seconds=compile_seconds,
        run_seconds=run_seconds,
        interpreter_seconds=interpreter_seconds,
        onnxruntime_seconds=peer_seconds,
        interpreter_error=found.error,
        onnxruntime_error=None if other is None else other.error,
        agrees=found.agrees and (other is None or other.agrees),
    )
    return row, text


def _interpret(compiler: Compiler, feed: Mapping[str, Array]) -> tuple[Array, float, str]:
    """Return the interpreter's result, its seconds, and the graph before any pass as text."""
    from ..compiler import bound_types
    from ..ir.interpreter import interpret

    shapes = {key: array.shape for key, array in feed.items()}
    stage, _ = compiler.stage("", bound_types(compiler.model.graph, shapes), None)
    start = time.perf_counter()
    (result,) = interpret(stage.graph, list(feed.values()))
    return result, time.perf_counter() - start, str(stage.graph)


def _onnxruntime(path: Path, feed: Mapping[str, Array]) -> tuple[Array | None, float | None]:
    try:
        import onnxruntime
    except ImportError:
        return None, None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, dict(feed))
    return result, _median(lambda: session.run(None, dict(feed)))


def _median(run: Callable[[], object]) -> float:
    """Return the median seconds of a run, over at least three and half a second of them."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < _TIMING_SECONDS:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _render(
    console: Console,
    facts: Mapping[str, Any],
    window: str,
    texts: Mapping[str, str],
    rows: list[Row],
    seconds: float,
) -> None:
    from .tables import duration, table

    spacing = " x ".join(f"{d:.2f}" for d in facts["spacing_mm"])
    console.print(
        f"{facts['modality']} slice {facts['file']}: {facts['rows']} x {facts['columns']} "
        f"pixels of {spacing} mm, window {_CENTRE:.0f} ± {_WIDTH / 2:.0f} HU\n"
    )
    console.print("Its pixels become an image by this graph, compiled like the networks:\n")
    console.print(window)
    first = MODELS[0]
    console.print(f"The graph of {first} before any pass, its weights left out:\n")
    lines = [line for line in texts[first].splitlines() if not line.startswith("  param ")]
    console.print("\n".join(line[: console.width] for line in lines[:_GRAPH_LINES]))
    console.print(f"  … {len(lines) - _GRAPH_LINES} more lines\n")
    console.print(table("Networks", _SIZES, map(_sizes, rows)))
    console.print(table("One image, one thread", _TIMES, map(_times, rows)))
    console.print(
        f"Errors are relative to the largest value. {duration(seconds)} in all. "
        "The weights are random: the results mean nothing."
    )


_SIZES = ("network", ">parameters", ">FLOP", ">kernels", ">compiled in")
_TIMES = ("network", ">interpreter", ">ranvier", ">onnxruntime", ">error", ">vs onnxruntime", "")


def _sizes(row: Row) -> tuple[Any, ...]:
    from .tables import count, duration

    compiled_in = duration(row.compile_seconds)
    return row.model, count(row.parameters), count(row.flops), row.kernels, compiled_in


def _times(row: Row) -> tuple[Any, ...]:
    from rich.text import Text

    from .tables import duration

    peer = row.onnxruntime_seconds
    return (
        row.model,
        duration(row.interpreter_seconds),
        duration(row.run_seconds),
        "not installed" if peer is None else duration(peer),
        f"{row.interpreter_error:.1e}",
        "–" if row.onnxruntime_error is None else f"{row.onnxruntime_error:.1e}",
        Text("agrees", "green") if row.agrees else Text("DIFFERS", "bold red"),
    )
