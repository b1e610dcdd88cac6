# SPDX-License-Identifier: MIT
"""``ranvier inspect``: what is in a model or artifact, and what running it takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Output
from .options import Shapes, model_argument, shapes_option, target_option

if TYPE_CHECKING:
    from rich.console import Console

    from ..frontend.model import ImportedModel
    from ..ir.graph import Graph
    from ..runtime.artifact import Artifact, Specialisation
    from ..runtime.program import Program, Step, ValueSpec

Json = dict[str, Any]


@click.command("inspect", cls=Command)
@model_argument
@target_option
@shapes_option
@click.option("--no-compile", is_flag=True, help="Only what the model itself says.")
def command(model: Path, target: str, shapes: Shapes | None, no_compile: bool) -> Output:
    """Show what is in MODEL (an ONNX file or an artifact).

    Operators, inputs and outputs, parameters; for every set of shapes that is compiled, and
    for the model's own if they are fixed: floating point operations, memory, kernels, and the
    ops that run on the host.
    """
    from ..runtime.artifact import Artifact, is_artifact

    if is_artifact(model):
        artifact = Artifact.load(model, any_machine=True)
        artifact.verify()
        data = {"kind": "artifact", "file": str(model), **_artifact(artifact)}
    else:
        data = _inspect_model(model, target, shapes, no_compile)
    return Output(data, lambda console: _render(console, data))


def _inspect_model(path: Path, target: str, shapes: Shapes | None, no_compile: bool) -> Json:
    from ..compiler import Compiler
    from .progress import progress

    with progress(f"loading {path}") as shown:
        compiler = Compiler(path, target, observe=lambda p, *_: shown.say(f"pass {p.name}"))
        data = {"kind": "model", "file": str(path), **_model(compiler.model)}
        if not no_compile:
            compiler.ahead(shapes)
    return {**data, **_artifact(compiler.artifact)}


def _model(model: ImportedModel) -> Json:
    arrays = [a for graph in _graphs(model.graph) for a in graph.parameters.values()]
    return {
        "producer": model.producer,
        "ir_version": model.ir_version,
        "opsets": {domain or "ai.onnx": version for domain, version in model.opsets.items()},
        "operators": dict(_operators(model.graph).most_common()),
        "parameters": sum(a.size for a in arrays),
        "parameter_bytes": sum(a.nbytes for a in arrays),
    }


def _graphs(graph: Graph) -> list[Graph]:
    regions = [region for node in graph.walk() for region in node.op.regions()]
    return [graph, *regions]


def _operators(graph: Graph) -> Counter[str]:
    return Counter(str(getattr(node.op, "qualified", node.op.name)) for node in graph.walk())


def _artifact(artifact: Artifact) -> Json:
    target = artifact.target
    return {
        "name": artifact.model.name,
        "inputs": [_value(spec) for spec in artifact.model.inputs],
        "outputs": [_value(spec) for spec in artifact.model.outputs],
        "target": {
            "name": target.name,
            "os": target.os,
            "arch": target.arch,
            "cpu": target.cpu,
            "features": list(target.features),
        },
        "variants": [variant.target.name for variant in artifact.variants],
        "specialisations": [_specialisation(s) for s in artifact.specialisations()],
    }


def _value(spec: ValueSpec) -> Json:
    return {"name": spec.name, "type": str(spec)}


def _specialisation(specialisation: Specialisation) -> Json:
    from ..runtime.step_info import host_ops, program_flops

    program = specialisation.program
    calls = Counter(_calls(program.steps))
    hosts = Counter(op for _, step in program.host_steps() for op in host_ops(step))
    return {
        "key": str(specialisation.key),
        "followed_by": specialisation.following.name if specialisation.following else None,
        "steps": len(program.steps),
        "flops": program_flops(program),
        "parameter_bytes": program.parameter_bytes,
        "arena_bytes": program.arena_bytes,
        "checks": [check.message for check in program.checks],
        "host_ops": dict(hosts.most_common()),
        "kernels": _kernels(program, calls),
    }


def _kernels(program: Program, calls: Counter[str]) -> list[Json]:
    kernels: list[Json] = [
        {
            "name": info.name,
            "label": info.label,
            "calls": calls[info.name],
            "flops": info.flops,
            "bytes": info.bytes,
            "sources": list(info.sources),
        }
        for info in program.kernels
    ]
    return sorted(kernels, key=lambda k: -int(k["calls"]) * int(k["flops"]))


def _calls(steps: tuple[Step, ...]) -> list[str]:
    """Return the kernel of every call, those in loops as often as they run."""
    from ..runtime.program import BranchStep, KernelStep, LoopStep, WhileStep

    names: list[str] = []
    for step in steps:
        if isinstance(step, KernelStep):
            names.append(step.kernel)
        elif isinstance(step, LoopStep):
            names += _calls(step.body) * step.count
        elif isinstance(step, WhileStep):
            names += _calls(step.body)
        elif isinstance(step, BranchStep):
            names += _calls(step.then_steps) + _calls(step.else_steps)
    return names


def _render(console: Console, data: Json) -> None:
    from .tables import count, size, table

    console.print(f"{data['kind']} {data['file']}: {data['name']}")
    if data["kind"] == "model":
        opsets = ", ".join(f"{name} {version}" for name, version in data["opsets"].items())
        console.print(f"  written by {data['producer'] or '(unknown)'}, {opsets}")
        memory = size(data["parameter_bytes"])
        console.print(f"  {count(data['parameters'])} parameters, {memory}")
    target = data["target"]
    features = ", ".join(target["features"]) or "no special features"
    console.print(f"  target {target['name']}: {target['os']} on {target['arch']}, {features}")
    if data["variants"]:
        console.print(f"  also for {', '.join(data['variants'])}")
    values = [("input", v["name"], v["type"]) for v in data["inputs"]]
    values += [("output", v["name"], v["type"]) for v in data["outputs"]]
    console.print(table("", ("", "name", "type"), values))
    if "operators" in data:
        console.print(table("Operators", ("operator", ">nodes"), data["operators"].items()))
    for specialisation in data["specialisations"]:
        _render_specialisation(console, specialisation)
    if not data["specialisations"]:
        console.print("shapes are symbolic; give --shapes to see operations, memory and kernels")


def _render_specialisation(console: Console, data: Json) -> None:
    from .tables import count, size, table

    console.print(f"for {data['key']}")
    parameters, arena = size(data["parameter_bytes"]), size(data["arena_bytes"])
    console.print(f"  {count(data['flops'], 'FLOP')}, {parameters} of parameters, {arena} of arena")
    hosts = ", ".join(f"{op} × {n}" for op, n in data["host_ops"].items())
    console.print(f"  {data['steps']} steps, ops on the host: {hosts or 'none'}")
    rows = [
        (k["label"], k["calls"], count(k["flops"]), size(k["bytes"]), ", ".join(k["sources"][:2]))
        for k in data["kernels"]
    ]
    columns = ("kernel", ">calls", ">FLOP", ">memory", "from")
    console.print(table(f"{len(rows)} kernels", columns, rows))
