# SPDX-License-Identifier: MIT
"""The repository installs as `ranvier` and nothing else, and its parts load what they need."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import ranvier

ROOT = Path(__file__).resolve().parents[2]
NOT_PACKAGES = {"__pycache__", "tests", "benchmarks", "build", "dist"}
ROOT_MODULES = {"__init__", "__main__", "backend", "compiler", "errors", "tuner"}


def folders() -> Iterator[Path]:
    """The folders of the repository that may hold parts of the package."""
    for path in ROOT.iterdir():
        if path.is_dir() and path.name.isidentifier() and path.name not in NOT_PACKAGES:
            yield from (p for p in (path, *path.rglob("*")) if p.is_dir())


def python_files() -> list[Path]:
    """Every Python file of the package and of the tests."""
    own = [f for folder in folders() for f in folder.glob("*.py")]
    return sorted([*ROOT.glob("*.py"), *own, *(ROOT / "tests").rglob("*.py")])


def listed_packages() -> list[str]:
    """The packages that pyproject.toml lists; tomllib is not in Python 3.10."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(r"^packages = (\[.*?^\])", text, re.DOTALL | re.MULTILINE)
    assert match is not None
    return list(ast.literal_eval(match[1]))


def run_python(code: str, folder: Path) -> str:
    """Run ``code`` in a fresh interpreter outside the repository and return what it prints."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(statement: str, folder: Path) -> set[str]:
    """Return the modules that a statement imports, those of ranvier in full."""
    code = f"import sys; {statement}; print(*sys.modules)"
    names = run_python(code, folder).split()
    return {n if n.startswith("ranvier") else n.partition(".")[0] for n in names}


def test_every_package_is_listed() -> None:
    found = {"ranvier"}
    for folder in folders():
        if (folder / "__init__.py").exists():
            found.add(".".join(("ranvier", *folder.relative_to(ROOT).parts)))
    assert sorted(found) == sorted(listed_packages())


def test_every_folder_with_modules_is_a_package() -> None:
    lost = [
        str(folder.relative_to(ROOT))
        for folder in folders()
        if any(folder.glob("*.py")) and not (folder / "__init__.py").exists()
    ]
    assert not lost, "without __init__.py these are not installed"


def test_every_folder_has_its_page() -> None:
    tops = {f for f in folders() if f.parent == ROOT} | {ROOT / "tests", ROOT / "benchmarks"}
    assert sorted(f.name for f in tops if not (f / "README.md").exists()) == []


def test_root_holds_only_modules_of_the_package() -> None:
    # In an editable installation every Python file of the root is a module of ranvier.
    assert {f.stem for f in ROOT.glob("*.py")} <= ROOT_MODULES


def test_every_file_opens_with_the_licence() -> None:
    line = "# SPDX-License-Identifier: MIT\n"
    files = [*python_files(), *(ROOT / "benchmarks").rglob("*.py")]
    bare = [str(f) for f in files if not f.read_text(encoding="utf-8").startswith(line)]
    assert not bare


def test_folders_are_not_top_level_modules(tmp_path: Path) -> None:
    names = sorted({f.name for f in folders() if f.parent == ROOT} | {"tests", "errors"})
    code = (
        "import importlib.util, ranvier\n"
        f"print(*(n for n in {names!r} if importlib.util.find_spec(n) is not None))"
    )
    assert run_python(code, tmp_path).split() == []


def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(
        ".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "benchmarks"
    )
    shutil.copytree(ROOT, source, ignore=ignored)
    code = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    subprocess.run(
        [sys.executable, "-c", code], cwd=source, check=True, capture_output=True, timeout=120
    )
    (wheel,) = source.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    package = [n for n in names if n.startswith("ranvier/")]
    rest = [n for n in names if n not in package]
    assert all(n.partition("/")[0].endswith(".dist-info") for n in rest)
    models = {f"ranvier/cli/models/{f.name}" for f in (ROOT / "cli/models").glob("*.onnx")}
    others = {n for n in package if not n.endswith(".py")}
    images = {"ranvier/training/data/samples/pneumonia." + end for end in ("npz", "LICENSE.txt")}
    assert others == {"ranvier/py.typed"} | models | images
    expected = {
        "/".join(("ranvier", *f.relative_to(ROOT).parts))
        for f in python_files()
        if "tests" not in f.relative_to(ROOT).parts[:1]
    }
    assert expected == {n for n in package if n.endswith(".py")}


def test_version_is_the_installed_one() -> None:
    assert importlib.metadata.version("ranvier") == ranvier.__version__


@pytest.mark.parametrize("name", ranvier.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(ranvier, name) is not None
    assert name in dir(ranvier)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ranvier' has no attribute 'kompile'"):
        ranvier.kompile  # noqa: B018 - the access is the test


def test_package_itself_is_light(tmp_path: Path) -> None:
    loaded = loaded_by("import ranvier, ranvier.errors", tmp_path)
    assert not loaded & {"numpy", "onnx", "tvm", "tvm_ffi", "click", "rich"}


def test_ir_loads_numpy_alone(tmp_path: Path) -> None:
    heavy = {"onnx", "tvm", "tvm_ffi", "safetensors", "click", "rich", "ziglang"}
    assert not loaded_by("import ranvier.ir", tmp_path) & heavy


def test_runtime_loads_neither_compiler_nor_onnx(tmp_path: Path) -> None:
    loaded = loaded_by("import ranvier.runtime", tmp_path)
    assert not loaded & {"onnx", "google", "tvm", "click", "rich", "ziglang", "onnxruntime"}
    layers = {n.split(".")[1] for n in loaded if n.startswith("ranvier.")}
    assert layers <= {"runtime", "ir", "errors"}


def test_passes_load_neither_tvm_nor_onnx(tmp_path: Path) -> None:
    loaded = loaded_by("import ranvier.passes", tmp_path)
    assert not loaded & {"onnx", "tvm", "tvm_ffi", "google"}
