# SPDX-License-Identifier: MIT
"""The commands that take a model: run, compile, inspect, import, opt, diff."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from agreement import assert_agree
from ranvier.cli import diff
from ranvier.cli.deviation import Deviation, tolerance_of
from ranvier.codegen.lowering.base import LOWERINGS
from ranvier.ir import parse_graph
from ranvier.ir.ops import Relu
from ranvier.runtime import Artifact


def outputs_of(path: Path) -> dict[str, Any]:
    with np.load(path) as archive:
        return dict(archive)


# run


def test_run_writes_the_outputs(
    ranvier: Any, model: Path, inputs: Path, y: Any, tmp_path: Path
) -> None:
    done = ranvier("run", model, "--inputs", inputs, "--outputs", tmp_path / "o.npz")
    assert (done.code, done.err) == (0, "")
    assert "float32[2, 100]" in done.out
    assert_agree(outputs_of(tmp_path / "o.npz")["y"], y, atol=1e-5)


def test_run_as_json(ranvier: Any, model: Path, inputs: Path, tmp_path: Path) -> None:
    done = ranvier("run", model, "--inputs", inputs, "--outputs", tmp_path / "o.npz", "--json")
    assert done.data["outputs"] == [{"name": "y", "type": "float32[2, 100]"}]
    assert done.data["seconds"] > 0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "missing input 'x' (float32[N, 100])"),
        ({"X": np.zeros(1)}, "unexpected input 'X'; did you mean 'x'?"),
        ({"x": np.zeros((2, 100))}, "expected float32[N, 100], found float64"),
        ({"x": np.zeros((2, 99), np.float32)}, "dimension 1 must be 100, is 99"),
        ({"x": np.array([{}], object)}, "cannot be read as .npz"),
    ],
)
def test_run_refuses_wrong_inputs_and_writes_nothing(
    ranvier: Any, model: Path, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "i.npz", **arrays)
    done = ranvier("run", model, "--inputs", tmp_path / "i.npz", "--outputs", tmp_path / "o.npz")
    assert done.code == 1
    assert message in done.err
    assert not (tmp_path / "o.npz").exists()


def test_run_uses_the_given_threads(
    ranvier: Any, model: Path, inputs: Path, tmp_path: Path
) -> None:
    words = ("--inputs", inputs, "--outputs", tmp_path / "o.npz", "--threads")
    assert ranvier("run", model, *words, 3).code == 0
    assert "threads must be a positive number" in ranvier("run", model, *words, 0).err


# compile and inspect


@pytest.fixture
def artifact(ranvier: Any, model: Path, tmp_path: Path) -> Path:
    shapes = ("--shapes", "x=2x100", "--shapes", "x=3x100")
    done = ranvier("compile", model, "-o", tmp_path / "artifact", *shapes)
    assert (done.code, done.err) == (0, "")
    assert "(float32[3, 100])" in done.out
    return tmp_path / "artifact"


def test_compiled_shapes_run_and_others_do_not(
    ranvier: Any, artifact: Path, inputs: Path, y: Any, tmp_path: Path
) -> None:
    words = ("--inputs", inputs, "--outputs", tmp_path / "o.npz")
    assert ranvier("run", artifact, *words).code == 0
    assert_agree(outputs_of(tmp_path / "o.npz")["y"], y, atol=1e-5)
    np.savez(inputs, x=np.zeros((7, 100), np.float32))
    assert "no code for inputs (float32[7, 100])" in ranvier("run", artifact, *words).err


def test_compile_without_shapes_of_a_dynamic_model_says_what_to_do(
    ranvier: Any, model: Path, tmp_path: Path
) -> None:
    done = ranvier("compile", model, "-o", tmp_path / "a")
    assert done.code == 1
    assert "give `shapes`" in done.err
    assert not (tmp_path / "a").exists()


def test_compile_by_example_inputs(ranvier: Any, model: Path, inputs: Path, tmp_path: Path) -> None:
    done = ranvier("compile", model, "-o", tmp_path / "a", "--inputs", inputs, "--json")
    assert done.data["specialisations"] == ["(float32[2, 100])"]
    assert len(Artifact.load(tmp_path / "a").keys) == 1


def test_compile_for_several_processors(
    ranvier: Any, model: Path, inputs: Path, tmp_path: Path
) -> None:
    words = ("compile", model, "-o", tmp_path / "a", "--target", "cpu{march=x86-64+armv8-a}")
    done = ranvier(*words, "--shapes", "x=2x100", "--json")
    names = {done.data["target"], *done.data["variants"]}
    assert names == {"cpu{march=x86-64}", "cpu{march=armv8-a}"}
    assert len(ranvier("inspect", tmp_path / "a", "--json").data["variants"]) == 1
    assert "takes one target" in ranvier(*words, "--inputs", inputs).err


def test_inspect_a_model_without_shapes(ranvier: Any, model: Path) -> None:
    done = ranvier("inspect", model)
    assert done.code == 0
    for text in ("LayerNormalization", "float32[N, 100]", "tests", "ai.onnx 20", "give --shapes"):
        assert text in done.out


@pytest.mark.parametrize("kind", ["model", "artifact"])
def test_inspect_shows_work_memory_and_kernels(
    ranvier: Any, model: Path, artifact: Path, kind: str
) -> None:
    words = [model, "--shapes", "x=2x100"] if kind == "model" else [artifact]
    text = ranvier("inspect", *words).out
    data = ranvier("inspect", *words, "--json").data
    assert data["kind"] == kind
    first = data["specialisations"][0]
    assert first["key"] == "(float32[2, 100])"
    assert first["flops"] > 200
    assert first["parameter_bytes"] >= 400
    assert {s for k in first["kernels"] for s in k["sources"]} == {"first", "second"}
    assert all(k["calls"] == 1 for k in first["kernels"])
    assert first["kernels"][0]["label"] in text
    assert ("operators" in data) == (kind == "model")


def test_inspect_finds_damage(ranvier: Any, artifact: Path) -> None:
    weights = artifact / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    done = ranvier("inspect", artifact)
    assert done.code == 1
    assert "damaged" in done.err


# Models whose shapes depend on data


def test_staged_model_runs_from_an_artifact_made_by_example(
    ranvier: Any, staged_model: Path, inputs: Path, x: Any, tmp_path: Path
) -> None:
    done = ranvier("compile", staged_model, "-o", tmp_path / "a", "--inputs", inputs, "--json")
    assert done.data["complete"]
    assert len(done.data["specialisations"]) == 2
    words = ("--inputs", inputs, "--outputs", tmp_path / "o.npz")
    assert ranvier("run", tmp_path / "a", *words).code == 0
    assert_agree(outputs_of(tmp_path / "o.npz")["y"], np.exp(x[x > 0]))
    hosts = [
        s["host_ops"] for s in ranvier("inspect", tmp_path / "a", "--json").data["specialisations"]
    ]
    assert hosts == [{"nonzero": 1}, {}]


def test_staged_model_compiled_for_shapes_says_what_is_missing(
    ranvier: Any, staged_model: Path, inputs: Path, tmp_path: Path
) -> None:
    done = ranvier("compile", staged_model, "-o", tmp_path / "a", "--shapes", "x=2x100")
    assert "compile with --inputs" in done.out
    words = ("--inputs", inputs, "--outputs", tmp_path / "o.npz")
    assert "no code for inputs stage" in ranvier("run", tmp_path / "a", *words).err


def test_diff_follows_the_stages(ranvier: Any, staged_model: Path, inputs: Path) -> None:
    data = ranvier("diff", staged_model, "--inputs", inputs, "--json").data
    assert data["agree"]
    assert {layer["stage"] for layer in data["layers"]} == {0, 1}
    assert [layer["label"].split()[0] for layer in data["layers"] if layer["on_host"]] == [
        "nonzero"
    ]


# import and opt


def test_imported_text_reads_back(ranvier: Any, model: Path, tmp_path: Path) -> None:
    done = ranvier("import", model, "-o", tmp_path / "m.ir")
    assert "2 nodes" in done.out
    text = (tmp_path / "m.ir").read_text()
    assert 'type="LayerNormalization"' in text
    assert (tmp_path / "m.safetensors").exists()
    again = ranvier("opt", tmp_path / "m.ir", "-p", "eliminate-dead-nodes")
    assert (again.code, again.err) == (0, "")
    assert again.out == text


def test_canonical_text_goes_through_passes(ranvier: Any, model: Path, tmp_path: Path) -> None:
    ranvier("import", model, "-o", tmp_path / "m.ir", "--shapes", "x=2x100")
    done = ranvier("opt", tmp_path / "m.ir", "-p", "canonical, fuse", "-o", tmp_path / "f.ir")
    assert (done.code, done.err) == (0, "")
    assert "eliminate-dead-nodes" in done.out
    assert "fused(" in (tmp_path / "f.ir").read_text()
    direct = ranvier("opt", model, "--shapes", "x=2x100", "-p", "canonical,fuse", "--json").data
    assert direct["text"] == (tmp_path / "f.ir").read_text()
    assert direct["passes"][-1]["pass"] == "fuse"


def test_opt_lists_passes(ranvier: Any) -> None:
    names = [one["name"] for one in ranvier("opt", "--list", "--json").data["passes"]]
    assert "fuse" in names
    assert all(name in ranvier("opt", "--list").out for name in names)


@pytest.mark.parametrize(
    ("text", "passes", "message"),
    [
        (None, "fuse", "no such file"),
        ("graph @g(", "fuse", "m.ir, line 1"),
        ("graph @g() {\n  return\n}\n", "fuze", "unknown pass 'fuze'"),
        ("\x00\xff", "fuse", "m.ir, line 1"),
    ],
)
def test_opt_refuses_bad_text_and_passes(
    ranvier: Any, tmp_path: Path, text: str | None, passes: str, message: str
) -> None:
    if text is not None:
        (tmp_path / "m.ir").write_text(text)
    done = ranvier("opt", tmp_path / "m.ir", "-p", passes)
    assert done.code == 1
    assert message in done.err


def test_text_without_its_weights_says_so(ranvier: Any, model: Path, tmp_path: Path) -> None:
    ranvier("import", model, "-o", tmp_path / "m.ir")
    (tmp_path / "m.safetensors").unlink()
    done = ranvier("opt", tmp_path / "m.ir", "-p", "fuse")
    assert "parameter %w is given as a digest, its array is missing" in done.err


def test_weights_of_regions_share_no_name(tmp_path: Path) -> None:
    from ranvier.cli.graphs import read_graph, write_graph

    inner = ", ".join(str(float(k)) for k in range(3))
    text = f"""graph @g(%c: bool[], %x: float32[3]) {{
      param %w: float32[3] = (1.0, 2.0, 3.0)
      %y: float32[3] = branch(%c, %x) {{then_body=graph @t(%a: float32[3]) {{
          param %w: float32[3] = ({inner})
          %b: float32[3] = add(%a, %w)
          return %b
        }}, else_body=graph @e(%a: float32[3]) {{
          return %a
        }}}}
      %z: float32[3] = add(%y, %w)
      return %z
    }}"""
    graph = parse_graph(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ranvier.cli.graphs.INLINE_ELEMENTS", 2)
        write_graph(tmp_path / "g.ir", graph)
    assert "sha256:" in (tmp_path / "g.ir").read_text()
    assert read_graph(tmp_path / "g.ir") == graph


# diff


def test_diff_agrees(ranvier: Any, model: Path, inputs: Path) -> None:
    done = ranvier("diff", model, "--inputs", inputs, "--all")
    assert (done.code, done.err) == (0, "")
    assert "all agree" in done.out
    assert "second" in done.out
    data = ranvier("diff", model, "--inputs", inputs, "--json").data
    assert data["agree"]
    assert data["layers"][0]["label"] == "relu float32[2, 100]"
    assert all(layer["error"] < 1e-5 for layer in data["layers"])


def test_diff_takes_random_inputs_of_a_seed(ranvier: Any, model: Path) -> None:
    words = ("diff", model, "--shapes", "x=2x100", "--json")
    first, second = ranvier(*words).data, ranvier(*words).data
    other = ranvier(*words, "--seed", 1).data
    assert first["layers"] == second["layers"] != other["layers"]
    done = ranvier("diff", model)
    assert "give its sizes with --shapes x=1x100" in done.err


@pytest.fixture
def wrong_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    right = LOWERINGS[Relu]

    def lowering(context: Any, op: Any, inputs: Any, outputs: Any) -> Any:
        (tensor,) = right(context, op, inputs, outputs)
        doubled = context.elementwise(tensor.dtype, lambda v: v * 2.0, tensor)
        return (doubled,)

    table: dict[Any, Any] = LOWERINGS
    monkeypatch.setitem(table, Relu, lowering)
    # The cache finds kernels by the source of their lowering, which is unchanged.
    monkeypatch.setenv("RANVIER_CACHE", str(tmp_path / "wrong"))


@pytest.mark.usefixtures("wrong_kernel")
def test_diff_finds_the_wrong_kernel(ranvier: Any, model: Path) -> None:
    done = ranvier("diff", model, "--shapes", "x=2x100", "--json")
    assert done.code == 1
    assert not done.data["agree"]
    wrong = [layer["source"] for layer in done.data["layers"] if not layer["agrees"]]
    assert wrong == ["first"]
    text = ranvier("diff", model, "--shapes", "x=2x100").out
    assert "NOT all agree" in text


def test_diff_without_onnxruntime(
    ranvier: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff, "_onnxruntime", lambda *_: ({}, "not installed"))
    done = ranvier("diff", model, "--shapes", "x=2x100")
    assert done.code == 0
    assert "onnxruntime: not installed" in done.out


def test_narrow_types_inside_a_model_widen_what_is_allowed() -> None:
    assert tolerance_of(["float32", "int8"]) == 1e-4
    assert tolerance_of(["float32", "bfloat16"]) == 2e-2
    assert tolerance_of(["int8"]) == 0


def test_deviation_is_shown_as_a_problem_or_number() -> None:
    assert str(Deviation(0.5, 0.1)) == "5.0e-01"
    assert str(Deviation(0.5, 0.1, "other type")) == "other type"


# export


def test_export_writes_a_model_as_it_is(ranvier: Any, model: Path, tmp_path: Path) -> None:
    done = ranvier("export", model, "-o", tmp_path / "again.onnx", "--json")
    assert done.data["opset"] == 20
    assert done.data["nodes"] == 2
    graph = onnx.load(tmp_path / "again.onnx").graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_export_at_an_opset(
    ranvier: Any, model: Path, inputs: Path, y: Any, tmp_path: Path
) -> None:
    exported = tmp_path / "old.onnx"
    done = ranvier("export", model, "-o", exported, "--opset", 13, "--shapes", "x=2x100")
    assert (done.code, done.err) == (0, "")
    assert "at opset 13" in done.out
    assert "LayerNormalization" not in {n.op_type for n in onnx.load(exported).graph.node}
    ranvier("run", exported, "--inputs", inputs, "--outputs", tmp_path / "o.npz")
    assert_agree(outputs_of(tmp_path / "o.npz")["y"], y, atol=1e-5)


def test_export_refuses_and_writes_nothing(ranvier: Any, model: Path, tmp_path: Path) -> None:
    words = ("export", model, "-o", tmp_path / "new.onnx", "--shapes", "x=2x100")
    done = ranvier(*words, "--opset", 12)
    assert done.code == 1
    assert "opset 12 cannot be written; choose 13 to 28" in done.err
    assert not (tmp_path / "new.onnx").exists()
