# SPDX-License-Identifier: MIT
"""Progress of long work, on the terminal's error stream only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .command import console, quiet


class Progress:
    """Says what is being done; this base says nothing."""

    def say(self, text: str) -> None:
        """Show what is being done now."""

    def advance(self) -> None:
        """Count one item as done."""


@contextmanager
def progress(text: str, total: int | None = None) -> Iterator[Progress]:
    """Show a bar (or, without ``total``, a spinner) with elapsed time while the block runs."""
    if quiet():
        yield Progress()
        return
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
    bar = [BarColumn(), TextColumn("{task.completed}/{task.total}")] if total is not None else []
    with Bar(*columns, *bar, TimeElapsedColumn(), console=console(True), transient=True) as shown:
        task = shown.add_task(text, total=total)

        class Shown(Progress):
            def say(self, text: str) -> None:
                shown.update(task, description=text)

            def advance(self) -> None:
                shown.advance(task)

        yield Shown()
