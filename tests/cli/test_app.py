# SPDX-License-Identifier: MIT
"""The program as a whole: help, exit codes, errors as one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from ranvier.cli import app
from ranvier.cli.command import Command
from ranvier.errors import InputError

COMMANDS = [
    "run",
    "compile",
    "inspect",
    "import",
    "opt",
    "op",
    "tune",
    "train",
    "zoo",
    "diff",
    "doctor",
    "demo",
    "cache",
]


def test_help_names_every_command(ranvier: Any) -> None:
    for words in ([], ["--help"], ["-h"]):
        done = ranvier(*words)
        assert done.code == 0
        assert all(f"  {name} " in done.out for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_json_and_traceback(ranvier: Any, name: str) -> None:
    done = ranvier(name, "--help")
    assert done.code == 0
    assert "--json" in done.out
    assert "--traceback" in done.out


def test_version(ranvier: Any) -> None:
    import ranvier as package

    assert package.__version__ in ranvier("--version").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frob"], "error: No such command 'frob'. (see 'ranvier --help')\n"),
        (["run"], "error: Missing argument 'MODEL'. (see 'ranvier run --help')\n"),
        (["compile", "m", "-o", "a", "--shapes", "x=1y2"], "'x=1y2' must look like image=1x3"),
        (["compile", "m", "-o", "a", "--shapes", "x=1", "--inputs", "i"], "not both"),
        (["opt"], "error: give GRAPH and --passes, or --list (see 'ranvier opt --help')\n"),
        (["cache", "burn"], "'burn' is not one of 'show', 'path', 'clear'"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(ranvier: Any, words: list[str], message: str) -> None:
    done = ranvier(*words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_failure_is_one_line_and_code_1(ranvier: Any, tmp_path: Path) -> None:
    done = ranvier("inspect", tmp_path / "none.onnx")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert "none.onnx" in done.err
    assert done.err.count("\n") == 1


def test_failure_as_json(ranvier: Any, tmp_path: Path) -> None:
    done = ranvier("inspect", tmp_path / "none.onnx", "--json")
    assert done.code == 1
    assert "none.onnx" in done.data["error"]["message"]
    assert done.err.startswith("error: ")


def failing(error: BaseException) -> click.Command:
    @click.command("fail", cls=Command)
    def command() -> Any:
        raise error

    return command


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(error: BaseException) -> None:
        monkeypatch.setattr(app.Commands, "get_command", lambda *_: failing(error))

    return use


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("two\nlines"), 1, "error: two lines\n"),
        (OSError(28, "No space left on device"), 1, "error: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by"),
    ],
)
def test_any_error_is_one_line(
    ranvier: Any, fail: Any, error: BaseException, code: int, message: str
) -> None:
    fail(error)
    done = ranvier("fail")
    assert done.code == code
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1  # an interrupt ends the shell's own line first


@pytest.mark.parametrize("error", [InputError("x"), ZeroDivisionError("x")])
def test_traceback_shows_where(ranvier: Any, fail: Any, error: Exception) -> None:
    fail(error)
    with pytest.raises(type(error)):
        ranvier("fail", "--traceback")


def test_closed_pipe_is_silent() -> None:
    words = [sys.executable, "-m", "ranvier", "opt", "--list"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_as_a_program(tmp_path: Path) -> None:
    words = [sys.executable, "-W", "error", "-m", "ranvier", "inspect", "none", "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "none" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from ranvier.cli.app import execute; execute(['--help'])"
    code += "; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert not loaded & {"numpy", "onnx", "tvm", "tvm_ffi", "pydicom", "onnxruntime"}
