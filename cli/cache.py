# SPDX-License-Identifier: MIT
"""``ranvier cache``: where compiled kernels are kept, and how to drop them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .command import Command, Output

if TYPE_CHECKING:
    from rich.console import Console


@click.command("cache", cls=Command)
@click.argument("action", type=click.Choice(("show", "path", "clear")), default="show")
def command(action: str) -> Output:
    """Show the cache of compiled kernels, print its path alone, or clear it.

    The folder is set by the environment variable RANVIER_CACHE; 'off' keeps nothing.
    """
    from ..codegen.cache import cache_folder, cache_size, clear_cache

    folder = str(cache_folder())
    programs, nbytes = cache_size()
    if action == "clear":
        clear_cache()
    data = {"path": folder, "programs": programs, "bytes": nbytes, "cleared": action == "clear"}

    def render(console: Console) -> None:
        from .tables import size

        if action == "path":
            click.echo(folder)
            return
        verb = "removed from" if action == "clear" else "in"
        console.print(f"{programs} programs, {size(nbytes)} {verb} {folder}")

    return Output(data, render)
