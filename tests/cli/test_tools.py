# SPDX-License-Identifier: MIT
"""The commands about ranvier itself: op, doctor, cache, demo; files of arrays; deviations."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from agreement import assert_agree
from ranvier.cli import demo_slice, doctor
from ranvier.cli.arrays import fit, load_arrays, random_feed, save_arrays
from ranvier.cli.deviation import deviation
from ranvier.codegen import link
from ranvier.errors import InputError, UnsupportedError
from ranvier.runtime.program import OptionalSpec, SequenceSpec, TensorSpec

# op


@pytest.mark.parametrize("name", ["relu", "Relu"])
def test_op_shows_every_place(ranvier: Any, name: str) -> None:
    (op,) = ranvier("op", name, "--json").data["ops"]
    assert op["class"] == "Relu"
    assert op["defined"].startswith("ir/ops/activation.py:")
    assert op["operators"] == ["Relu"]
    assert op["gradient"]
    assert op["lowering"].startswith("codegen/lowering/")
    assert any(p.startswith("frontend/converters/") for p in op["converters"])
    assert any(p.startswith("passes/") for p in op["passes"])
    assert any(p.startswith("tests/samples/") for p in op["samples"])
    text = ranvier("op", name).out
    assert "Rectifier" in text
    assert op["lowering"] in text


def test_op_by_the_name_of_an_onnx_operator(ranvier: Any) -> None:
    ops = ranvier("op", "LayerNormalization", "--json").data["ops"]
    assert "layer_norm" in [op["op"] for op in ops]


def test_unknown_op_suggests_names(ranvier: Any) -> None:
    done = ranvier("op", "relo")
    assert done.code == 1
    assert "did you mean 'relu'" in done.err


# doctor


def test_doctor_finds_this_installation_healthy(ranvier: Any) -> None:
    done = ranvier("doctor", "--json")
    assert done.code == 0, done.out
    names = [finding["name"] for finding in done.data["findings"]]
    assert {"Python", "processor", "linker", "cache", "compiler", "GPU"} <= set(names)
    assert "a kernel was compiled and run" in ranvier("doctor").out


def test_doctor_says_what_to_do_about_a_missing_linker(
    ranvier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Path:
        raise UnsupportedError("no linker found")

    monkeypatch.setattr(link, "linker", missing)
    done = ranvier("doctor", "--json")
    assert done.code == 1
    finding = next(f for f in done.data["findings"] if f["name"] == "linker")
    assert finding["status"] == "fail"
    assert "ziglang" in finding["advice"]


def test_doctor_says_what_to_do_about_an_unwritable_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RANVIER_CACHE", str(tmp_path / "file"))
    (finding,) = doctor._cache()
    assert finding.status == "fail"
    assert "RANVIER_CACHE" in finding.advice


def test_doctor_compares_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = [
        "numpy>=1",
        "click<1",
        "no-such-package==1.0 ; python_version > '3'",
        "x>1; extra == 'y'",
    ]
    monkeypatch.setattr(doctor, "requires", lambda _: needed)
    findings = {f.name: f for f in doctor._packages()}
    assert [f.status for f in findings.values()] == ["ok", "fail", "fail"]
    assert findings["no-such-package"].found == "missing"
    assert findings["click"].advice == "pip install 'click<1'"


@pytest.mark.parametrize(
    ("installed", "clauses", "fits"),
    [
        ("2.4.6", ">=2.2,<2.5", True),
        ("2.5.0", ">=2.2,<2.5", False),
        ("2.10", ">=2.9", True),
        ("1.0", ">=1,<=1.0.0", True),
        ("0.27.0", "==0.27.0.post1", False),
        ("3", "!=3", False),
        ("3.1", ">3", True),
        ("1.0rc1", "", True),
    ],
)
def test_versions(installed: str, clauses: str, fits: bool) -> None:
    assert doctor.satisfies(installed, clauses) is fits


# cache


def test_cache_is_shown_and_cleared(
    ranvier: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANVIER_CACHE", str(tmp_path / "cache"))
    ranvier("inspect", model, "--shapes", "x=2x100")
    shown = ranvier("cache", "--json").data
    assert (shown["path"], shown["programs"]) == (str(tmp_path / "cache"), 1)
    assert shown["bytes"] > 0
    assert ranvier("cache", "path").out == f"{tmp_path / 'cache'}\n"
    assert "1 programs" in ranvier("cache", "clear").out
    assert ranvier("cache", "--json").data["programs"] == 0


# demo


def test_demo_models_are_what_the_script_makes() -> None:
    made = runpy.run_path(str(Path(__file__).parent / "make_demo_models.py"))["models"]()
    assert {f"{name}.onnx" for name in demo_slice.MODELS} == made.keys()
    for name, data in made.items():
        assert (demo_slice.FOLDER / name).read_bytes() == data
        assert len(data) < 300_000


def test_demo_on_a_slice_agrees(ranvier: Any) -> None:
    pytest.importorskip("pydicom")
    done = ranvier("demo", "--slice", "--json")
    assert done.code == 0, done.err
    assert done.data["slice"]["modality"] == "CT"
    assert [row["model"] for row in done.data["models"]] == list(demo_slice.MODELS)
    assert all(row["agrees"] for row in done.data["models"])


def test_demo_without_pydicom_says_what_to_do(
    ranvier: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    done = ranvier("demo", "--slice")
    assert done.code == 1
    assert "pip install pydicom" in done.err


def test_demo_learns_exports_and_reports(ranvier: Any, tmp_path: Path) -> None:
    done = ranvier("demo", "--epochs", 1, "-o", tmp_path / "out", "--json")
    assert done.code == 0, done.err
    (epoch,) = done.data["epochs"]
    # Guessing gives an area of a half; one epoch is enough to be far from that.
    assert epoch["val_auc"] > 0.9
    assert done.data["deployed"]["error"] < 1e-4
    assert Path(done.data["model"]).exists()
    assert (tmp_path / "out" / "pneumonia.ranvier").is_dir()
    assert "Pneumonia on chest X-rays" in Path(done.data["report"]).read_text(encoding="utf-8")


# Files of arrays

SPECS = (
    TensorSpec("a/b", "bfloat16", (2,)),
    TensorSpec("s", "string", (2,)),
    SequenceSpec("q", TensorSpec("", "float32", ("n",))),
    OptionalSpec("o", TensorSpec("", "float32", ())),
)
VALUES = {
    "a/b": np.array([1.5, -2], ml_dtypes.bfloat16),
    "s": np.array(["x", "länger"], object),
    "q": [np.zeros(1, np.float32), np.ones(2, np.float32)],
    "o": None,
}


def test_values_of_every_kind_come_back_from_a_file(tmp_path: Path) -> None:
    save_arrays(tmp_path / "f.npz", VALUES)
    back = fit(SPECS, load_arrays(tmp_path / "f.npz"))
    assert back.keys() == VALUES.keys()
    for name, value in VALUES.items():
        assert_agree(back[name], value)


def test_unknown_names_stay_for_the_session_to_refuse() -> None:
    assert "z" in fit(SPECS, {"z": np.zeros(1)})


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "npy", "truncated", "flipped"])
def test_damaged_files_of_arrays_are_an_input_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "f.npz"
    save_arrays(path, {"x": np.arange(100)})
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    else:
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        changed = {
            "empty": b"",
            "text": b"text",
            "truncated": data[:-30],
            "flipped": bytes(flipped),
        }
        path.write_bytes(changed[damage])
    with pytest.raises(InputError, match=r"f\.npz"):
        load_arrays(path)


def test_a_header_of_absurd_size_is_an_input_error(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "f.npz", "w") as archive:
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999,), }"
        text = header.ljust(117) + "\n"
        archive.writestr(
            "x.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
        )
    with pytest.raises(InputError, match="cannot be read"):
        load_arrays(tmp_path / "f.npz")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    save_arrays(path, {"x": np.zeros(1)})
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_arrays(path, {"x": np.array([{}], dtype=[("f", object)])})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["f.npz"]


def test_random_inputs_fit_their_types() -> None:
    specs = [
        TensorSpec(dtype, dtype, (3, 4))
        for dtype in ("float32", "bfloat16", "int64", "int4", "bool", "float8_e4m3fn", "complex64")
    ]
    feed = random_feed(specs, None, 0)
    for spec in specs:
        assert feed[spec.name].dtype == spec.numpy_dtype
        assert feed[spec.name].shape == (3, 4)
    assert set(np.unique(feed["int64"])) <= {0, 1}
    with pytest.raises(InputError, match="give arrays with --inputs"):
        random_feed([TensorSpec("s", "string", (1,))], None, 0)


# Deviations

NAN, INF = np.nan, np.inf


def f32(values: Any) -> Any:
    return np.array(values, np.float32)


def i8(values: Any) -> Any:
    return np.array(values, np.int8)


@pytest.mark.parametrize(
    ("value", "reference", "agrees"),
    [
        (f32([1, 2]), f32([1, 2.0001]), True),
        (f32([1, 2]), f32([1, 2.1]), False),
        (f32([NAN, INF]), f32([NAN, INF]), True),
        (f32([1, INF]), f32([1, -INF]), False),
        (f32([NAN, 2]), f32([1, 2]), False),
        (f32([1, 2]), np.array([1.0, 2]), False),
        (f32([1, 2]), f32([[1, 2]]), False),
        (i8([1, 2]), i8([1, 2]), True),
        (i8([1, 2]), i8([1, 3]), False),
        (np.array([1j], np.complex64), np.array([1j], np.complex64), True),
        (np.zeros(0, np.float32), np.zeros(0, np.float32), True),
        (np.zeros(0, np.int8), np.zeros(0, np.int8), True),
        (np.array(["a"], object), np.array(["a"], object), True),
        (np.array(["a"], object), np.array(["b"], object), False),
        (np.array([1.01], ml_dtypes.bfloat16), np.array([1.0], ml_dtypes.bfloat16), True),
        (None, None, True),
        (None, np.zeros(1), False),
        ([np.zeros(1)], [np.zeros(1)], True),
        ([np.zeros(1)], [np.zeros(1), np.zeros(1)], False),
        ([], [], True),
        (np.zeros(1), [np.zeros(1)], False),
    ],
)
def test_what_agrees(value: Any, reference: Any, agrees: bool) -> None:
    assert deviation(value, reference).agrees is agrees
