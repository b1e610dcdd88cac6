# SPDX-License-Identifier: MIT
"""Loops in loops address what moves with the right one of them."""

from __future__ import annotations

import numpy as np
import pytest

from agreement import Compiled, assert_agree
from ranvier.ir import interpret, parse_graph

SCAN = """scan({carried}, {scanned}) {{body=graph @s(%p: float32[2], %q: float32[2]) {{
  %z: float32[2] = add(%p, %q)
  return %z, %z
}}, length=4, num_carried=1, num_scanned=1}}"""

SCAN_IN_WHILE = f"""graph @g(%c: bool[], %x: float32[4, 2], %s: float32[2]) {{
  %t: float32[2] = while_loop(%c, %s, %x) {{body=graph @b(
      %i: int64[], %a: float32[2], %xs: float32[4, 2]) {{
    param %limit: int64[] = (2,)
    %r: float32[2], %rows: float32[4, 2] = {SCAN.format(carried="%a", scanned="%xs")}
    %go: bool[] = less(%i, %limit)
    return %go, %r
  }}, max_trips=5}}
  return %t
}}"""

SCAN_IN_SCAN = f"""graph @g(%c: bool[], %x: float32[4, 2], %s: float32[2]) {{
  %t: float32[2], %all: float32[4, 4, 2] = scan(%s, %x, %x) {{body=graph @b(
      %a: float32[2], %row: float32[2], %xs: float32[4, 2]) {{
    %b: float32[2] = add(%a, %row)
    %r: float32[2], %rows: float32[4, 2] = {SCAN.format(carried="%b", scanned="%xs")}
    return %r, %rows
  }}, length=4, num_carried=1, num_scanned=1}}
  return %t, %all
}}"""


@pytest.mark.parametrize("text", [SCAN_IN_WHILE, SCAN_IN_SCAN], ids=["while", "scan"])
def test_scan_inside_a_loop_reads_its_own_rows(text: str, compiled: Compiled) -> None:
    graph = parse_graph(text)
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    inputs = [np.array(True), x, np.ones(2, np.float32)]
    assert_agree(compiled(graph, inputs), interpret(graph, inputs))
