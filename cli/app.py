# SPDX-License-Identifier: MIT
"""The ``ranvier`` program: finds the command, and turns every error into one clear line."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from .. import __version__
from ..errors import RanvierError

_COMMANDS = {
    "run": "run",
    "compile": "compile",
    "inspect": "inspect",
    "import": "import_model",
    "export": "export",
    "opt": "opt",
    "op": "op",
    "tune": "tune",
    "train": "train",
    "zoo": "zoo",
    "diff": "diff",
    "doctor": "doctor",
    "demo": "demo",
    "cache": "cache",
}
"""Command names and their modules, in the order of ``--help``."""

OK, FAILURE, USAGE, INTERRUPTED = 0, 1, 2, 130


class Commands(click.Group):
    """Loads a command's module when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command name."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command called ``cmd_name``."""
        if cmd_name not in _COMMANDS:
            return None  # click then says that there is no such command
        module = importlib.import_module(f".{_COMMANDS[cmd_name]}", __package__)
        command: click.Command = module.command
        return command


@click.group(
    cls=Commands,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ranvier")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Compile, run, train and look into ONNX models."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = commands.main(words, prog_name="ranvier", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "ranvier"
        return _fail(f"{error.format_message()} (see '{where} --help')", "UsageError", words, USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), "UsageError", words, USAGE)
    except (click.Abort, KeyboardInterrupt) as error:
        return _fail(str(error) or "interrupted", "Interrupted", words, INTERRUPTED)
    except (RanvierError, OSError) as error:
        _raise_if_asked(words)
        return _fail(str(error), type(error).__name__, words, FAILURE)
    except Exception as error:  # noqa: BLE001 - people get one line, whatever went wrong
        _raise_if_asked(words)
        message = f"unexpected {type(error).__name__}: {error}; --traceback shows where"
        return _fail(message, type(error).__name__, words, FAILURE)
    return result if isinstance(result, int) else OK


def main() -> NoReturn:
    """Entry point of the program."""
    sys.exit(execute())


def _raise_if_asked(words: Sequence[str]) -> None:
    if "--traceback" in words:
        raise  # noqa: PLE0704 - called while an error is handled


def _fail(message: str, kind: str, words: Sequence[str], code: int) -> int:
    line = " ".join(message.split())
    if "--json" in words:
        click.echo(json.dumps({"error": {"kind": kind, "message": line}}))
    click.echo(f"error: {line}", err=True)
    return code
