# SPDX-License-Identifier: MIT
"""``ranvier tune``: measures the candidates of a model's kernels and keeps the fastest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .command import Command, Output
from .options import Shapes, model_argument, shapes_option, target_option

if TYPE_CHECKING:
    from rich.console import Console

    from ..tuner import Tuned


@click.command("tune", cls=Command)
@model_argument
@target_option
@shapes_option
@click.option(
    "--rounds", type=click.IntRange(1, 1000), default=7, show_default=True,
    help="How often each program of candidates runs.",
)  # fmt: skip
def command(model: Path, target: str, shapes: Shapes | None, rounds: int) -> Output:
    """Measure the candidates of the kernels of MODEL on this processor.

    The fastest are kept in the kernel cache and used by every later compilation for this
    processor. What a kernel computes does not depend on the choice, but for rounding.
    """
    from ..tuner import tune
    from .progress import progress

    with progress(f"loading {model}") as shown:
        tuned = tune(model, shapes, target, rounds, shown.say)
    changed = [t for t in tuned if t.gain > 1]
    data: dict[str, Any] = {
        "groups": len(tuned),
        "changed": len(changed),
        "kernels": [_as_data(t) for t in tuned],
    }

    def render(console: Console) -> None:
        from rich.table import Table

        table = Table("kernel", "candidate kept", "times faster")
        for t in sorted(changed, key=lambda t: -t.gain):
            table.add_row(t.label, t.chosen, f"{t.gain:.2f}")
        if changed:
            console.print(table)
        console.print(f"{len(tuned)} groups have candidates; {len(changed)} are faster otherwise.")

    return Output(data, render)


def _as_data(tuned: Tuned) -> dict[str, Any]:
    return {"kernel": tuned.label, "chosen": tuned.chosen, "seconds": tuned.seconds}
