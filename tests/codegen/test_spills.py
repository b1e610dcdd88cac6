# SPDX-License-Identifier: MIT
"""Spills are counted in the innermost loops of assembly, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
from tvm import tirx
from tvm.script import tirx as T
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as tb

from ranvier.codegen.compile_kernels import assembly_of
from ranvier.codegen.spills import InnerLoop, innermost_loops, spills
from ranvier.codegen.targets.cpu import CpuTarget

X86 = """
	.type	k_one,@function
k_one:
	subq	$744, %rsp
	vmovups	%ymm0, 416(%rsp)
.LBB0_1:                                # =>This Loop Header: Depth=1
	movq	%rax, %rcx
	vmovups	%ymm1, 384(%rsp)
.LBB0_2:
	vmovups	%ymm8, 448(%rsp)        # 32-byte Spill
.Ltmp8:
	.loc	1 0 0
	vbroadcastss	-512(%rdi,%r8), %ymm8
	vmovups	-224(%r9), %ymm3
	vmovups	(%rbp), %ymm2
	movq	16(%rsp), %r10
	vfmadd231ps	%ymm3, %ymm8, %ymm4
	vfmadd213ps	(%rsp), %ymm8, %ymm5
	jne	.LBB0_2
	vmovups	384(%rsp), %ymm1
	jne	.LBB0_1
	retq
	.type	k_two,@function
k_two:
	pushq	%rbp
	movq	%rsp, %rbp
	andq	$-64, %rsp
.LBB1_3:
	je	.LBB1_5
	vmovups	-64(%rbp), %zmm1
	vfmadd231ps	64(%rsi){1to16}, %zmm2, %zmm1
	jmp	.LBB1_3
.LBB1_5:
	vmovups	%zmm1, (%rsp,%rax)
	jne	.LBB1_5
	retq
"""

AARCH64 = """
	.type	k,@function
k:
	stp	d15, d14, [sp, #-80]!
	mov	x19, sp
.LBB0_1:
	stp	q18, q16, [sp]
.LBB0_2:
	ldp	q27, q28, [x11, #-32]
	ldr	q6, [sp, #144]
	ldr	x9, [sp, #8]
	str	q7, [x19, #16]
	fmla	v1.4s, v27.4s, v26.s[0]
	cbnz	x12, .LBB0_2
.LBB0_3:
	ldr	q6, [sp, #144]
	fadd	v6.4s, v6.4s, v1.4s
	fmla	v1.4s, v6.4s, v26.s[0]
	cbnz	x13, .LBB0_3
	tbnz	w3, #0, .LBB0_1
	ret
"""


def test_spills_of_x86() -> None:
    assert innermost_loops(X86) == (
        InnerLoop("k_one", ".LBB0_2", 8, 2, 2),
        InnerLoop("k_two", ".LBB1_3", 4, 1, 1),
        InnerLoop("k_two", ".LBB1_5", 2, 0, 1),
    )
    assert spills(X86) == 3


def test_spills_of_aarch64() -> None:
    assert innermost_loops(AARCH64) == (
        InnerLoop("k", ".LBB0_2", 6, 1, 2),
        InnerLoop("k", ".LBB0_3", 4, 1, 1, additions=1),
    )
    assert spills(AARCH64) == 2


@pytest.mark.parametrize(
    "text", ["", "k:\n\tretq\n", ".LBB0_1:\n\tjmp\t.LBB0_2\n.LBB0_2:\n\tretq\n"]
)
def test_no_loop_no_spill(text: str) -> None:
    assert innermost_loops(text) == ()
    assert spills(text) == 0


def product(rows: int, columns: int, lanes: int) -> Any:
    """Return a TIR function with a loop over ``rows * columns`` vector accumulators."""
    dtype, ramp = f"float32x{lanes}", tirx.Ramp(0, 1, lanes)
    with IRBuilder() as builder, tb.prim_func(s_tir=True):
        tb.func_name("k")
        tb.func_attr({"tirx.noalias": True})
        pointers = [tb.arg(n, tb.handle("float32")) for n in "xwy"]
        x, w, y = (tb.decl_buffer((1 << 16,), "float32", data=p) for p in pointers)
        tiles = [
            [tb.alloc_buffer((lanes,), "float32", scope="local") for _ in range(columns)]
            for _ in range(rows)
        ]
        flat = [tile for row in tiles for tile in row]
        for tile in flat:
            tb.buffer_store(tile, T.broadcast(T.float32(0), lanes), [ramp])
        with tb.serial(0, 64) as k:
            for i, row in enumerate(tiles):
                for j, tile in enumerate(row):
                    weight = w.vload([(k * columns + j) * lanes], dtype)
                    value = tile.vload([0], dtype) + T.broadcast(x[k * rows + i], lanes) * weight
                    tb.buffer_store(tile, value, [ramp])
        for n, tile in enumerate(flat):
            tb.buffer_store(y, tile.vload([0], dtype), [tirx.Ramp(n * lanes, 1, lanes)])
    return builder.get()


@pytest.mark.parametrize(
    ("march", "lanes", "fits", "spilling"),
    [
        ("x86-64-v3", 8, (4, 3), (6, 4)),
        ("x86-64-v4", 16, (6, 4), (10, 4)),
        ("armv8-a", 4, (6, 3), (10, 4)),
    ],
)
def test_real_loops_that_fit_the_registers_and_that_do_not(
    march: str, lanes: int, fits: tuple[int, int], spilling: tuple[int, int]
) -> None:
    good, bad = (
        assembly_of(product(*tile, lanes), CpuTarget(march)._tvm()) for tile in (fits, spilling)
    )
    assert spills(good) == 0
    assert spills(bad) > 0
    assert max(loop.arithmetic for loop in innermost_loops(good)) % (fits[0] * fits[1]) == 0
