# SPDX-License-Identifier: MIT
"""What every command shares: ``--json``, ``--traceback``, and results shown in either form."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 140


@dataclass(frozen=True)
class Output:
    """What a command found.

    Attributes:
        data: for ``--json``: JSON types only.
        render: prints the same for people.
        exit_code: 1 where the command ran but what it looked at is not well.
    """

    data: Mapping[str, Any]
    render: Callable[[Console], None]
    exit_code: int = 0


class Command(click.Command):
    """A command whose callback returns an :class:`Output`, which is shown as asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON object."),
            click.Option(["--traceback"], is_flag=True, help="Show where an error was raised."),
        ]

    def invoke(self, ctx: click.Context) -> int:
        """Run the command, show what it returned, and return the exit code."""
        as_json = ctx.params.pop("as_json")
        ctx.params.pop("traceback")
        ctx.obj = as_json
        output: Output = super().invoke(ctx)
        if as_json:
            click.echo(json.dumps(output.data, indent=2))
        else:
            output.render(console())
        return output.exit_code


def console(stderr: bool = False) -> Console:
    """Return a console for plain text: model names and shapes are no markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, highlight=False, soft_wrap=False, width=width)


def quiet() -> bool:
    """Whether progress must not be shown: JSON was asked for, or nobody watches."""
    context = click.get_current_context(silent=True)
    return bool(context and context.obj) or not sys.stderr.isatty()
