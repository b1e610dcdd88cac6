# SPDX-License-Identifier: MIT
"""Damages model files and reports what loading and specialising them does.

Run as a program by the robustness test, in a process of its own, so that a crash or hang of
one chunk is seen and costs nothing else: ``python mutate_models.py SEED COUNT [FILE...]``. Instead
of files it takes the word ``operators``: then fields of the suite's node cases are edited.
"""

from __future__ import annotations

import json
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import ModelProto
from onnx.backend.test.loader import load_model_tests

from ranvier.errors import InputError, RanvierError
from ranvier.frontend import ImportedModel, NeedsInputs, load, specialise
from ranvier.ir import SequenceType, TensorType, Type, numpy_dtype
from ranvier.ir.structure import Structure, leaves

MEMORY = 6 * 2**30
"""Address space that a process may use, most of which libraries map and never touch."""

HEADER = '<ir_version: 10, opset_import: ["" : 20, "local" : 1]>\n'
MODELS = {
    "conv": """
        net (float[N,2,6,6] x) => (float[N,M] y)
        <float[3,2,3,3] w = {WEIGHTS}, int64[2] s = {0,-1}> {
          h = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w)
          r = Relu(h)
          p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
          y = Reshape(p, s)
        }""",
    "shapes": """
        net (float[A,B] x, int64[K] target) => (float[C,D] y, int64[E,F] where) {
          s = Shape(x)
          one = Constant<value_ints=[1]>()
          t = Concat<axis=0>(s, one)
          e = Reshape(x, t)
          q = Squeeze(e)
          z = ConstantOfShape(target)
          y = Expand(q, target)
          where = NonZero(q)
        }""",
    "control": """
        net (float[2] x, int64 n) => (float[2] y, float[T,2] ys, float[K] z) {
          c = Constant<value = bool {1}>()
          zero = Constant<value = float {0}>()
          y, ys = Loop(n, c, x) <body = b (int64 i, bool ci, float[2] s)
              => (bool co, float[2] t, float[2] u) {
            co = Identity(ci)
            m = ReduceSum<keepdims=0>(s)
            g = Greater(m, zero)
            t = If(g) <then_branch = tb () => (float[2] p) { p = Sub(s, x) },
                       else_branch = eb () => (float[2] q) { q = Add(s, x) }>
            u = Mul(t, x)
          }>
          g0 = Greater(n, n)
          z = If(g0) <then_branch = a () => (float[3] p) { p = Concat<axis=0>(x, x) },
                      else_branch = d () => (float[2] q) { q = Neg(x) }>
        }""",
    "function": """
        net (float[2,3] x) => (float[2,3] y) {
          a = local.twice<k = 2>(x)
          y = Softmax<axis = -1>(a)
        }
        <domain: "local", opset_import: ["" : 20]>
        twice <k> (v) => (w) { c = Constant<value_int: int = @k>()
          f = Cast<to = 1>(c)
          w = Mul(v, f) }""",
    "sequence": """
        net (seq(float[2]) items, float[2] x) => (float[M] y, int64 n) {
          more = SequenceInsert(items, x)
          n = SequenceLength(more)
          y = ConcatFromSequence<axis = 0>(more)
        }""",
    "types": """
        net (float[4] x) => (float[4] y, string[2] t)
        <int8[4] a = {1,-2,3,4}, float16[4] h = {1,2,3,4}, bool[4] m = {1,0,1,1},
         string[2] s = {"a","b"}> {
          f = Cast<to = 1>(a)
          g = Cast<to = 1>(h)
          u = Add(f, g)
          w = Where(m, u, x)
          y = Mul(w, x)
          t = StringConcat(s, s)
        }""",
}


def small_models() -> list[bytes]:
    """Return the models above as files."""
    weights = ",".join(str(k / 54) for k in range(54))
    texts = [HEADER + text.replace("WEIGHTS", weights) for text in MODELS.values()]
    return [onnx.parser.parse_model(text).SerializeToString() for text in texts]


def operator_models() -> list[bytes]:
    """Return a model of each node case of the ONNX suite, which are those of its operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases compute infinities and NaN on purpose
        cases = load_model_tests(kind="node")
    models = [case.model for case in cases if "expanded" not in case.name]
    return [model.SerializeToString() for model in models if model is not None]


# Damage


def truncated(data: bytes, random: random.Random) -> bytes:
    return data[: random.randrange(len(data))]


def flipped(data: bytes, random: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def spliced(data: bytes, random: random.Random) -> bytes:
    start, length = random.randrange(len(data)), random.randrange(1, 40)
    filling = random.choice((b"", random.randbytes(length), data[:length] * 3))
    return data[:start] + filling + data[start + random.randrange(40) :]


def edited(data: bytes, random: random.Random) -> bytes:
    model = ModelProto.FromString(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        message = random.choice(list(messages(model)))
        fields = [f for f, _ in message.ListFields()]
        if fields:
            edit(message, random.choice(fields), random, list(names(model)))
    return bytes(model.SerializeToString())


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (truncated, flipped, spliced, edited)
NUMBERS = (0, 1, -1, 2, 7, 28, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))


def messages(message: Any) -> Iterator[Any]:
    """Yield a message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                yield from messages(inner)


def names(model: ModelProto) -> Iterator[str]:
    for message in messages(model):
        if isinstance(message, onnx.NodeProto):
            yield from (*message.input, *message.output, message.op_type)


def edit(message: Any, field: Any, random: random.Random, words: list[str]) -> None:
    """Change one field to something absurd of the same type."""
    if field.is_repeated:
        edit_repeated(getattr(message, field.name), field, random, words)
    elif field.message_type is not None:
        message.ClearField(field.name)
    else:
        set_scalar(message, field, random, words)


def edit_repeated(items: Any, field: Any, random: random.Random, words: list[str]) -> None:
    at = random.randrange(len(items))
    choice = random.randrange(3)
    if choice == 0:
        del items[at]
    elif field.message_type is not None:
        items.add().CopyFrom(items[at])
    elif choice == 1:
        items.append(items[at])
    else:
        items[at] = absurd(field, random, words)


def set_scalar(message: Any, field: Any, random: random.Random, words: list[str]) -> None:
    if random.randrange(4) == 0:
        message.ClearField(field.name)
    elif field.enum_type is None:
        setattr(message, field.name, absurd(field, random, words))
    else:
        setattr(message, field.name, random.choice(field.enum_type.values).number)


def absurd(field: Any, random: random.Random, words: list[str]) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        word = random.choice([*words, "", "x" * 1000, "../../etc/passwd"])
        return word.encode() if field.type == field.TYPE_BYTES else word
    if field.cpp_type in {field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE}:
        return random.choice((0.0, -1.0, 1e30, float("inf"), float("nan")))
    number = random.choice(NUMBERS)
    return number % 2**31 if field.cpp_type == field.CPPTYPE_INT32 else number


# What becomes of it


def try_model(data: bytes) -> str:
    """Load and specialise a model; return the kind of error that it gives, or ``ok``."""
    try:
        model = load(data)
        structures = [structure(v.type) for v in model.graph.inputs]
        values: dict[str, Any] | None = {}
        while values is not None:
            values = specialised(model, structures, values)
    except RanvierError as error:
        return type(error).__name__
    return "ok"


def specialised(
    model: ImportedModel, structures: list[Structure], values: dict[str, Any]
) -> dict[str, Any] | None:
    """Specialise, and return the values to do it again with if more are needed."""
    try:
        specialise(model.graph, structures, values, file=model.file)
    except NeedsInputs as needed:
        if needed.names <= values.keys():
            raise RuntimeError("asked again for what it has") from needed
        return given(model.graph.inputs, structures, needed.names)
    return None


def structure(type: Type) -> Structure:
    """Return a structure that an input of this type may have."""
    if isinstance(type, TensorType):
        return TensorType(type.dtype, tuple(d if isinstance(d, int) else 2 for d in type.shape))
    if isinstance(type, SequenceType):
        return (structure(type.element),) * 2
    return TensorType("float32", (2,))


def given(inputs: Any, structures: list[Structure], wanted: frozenset[str]) -> dict[str, Any]:
    """Return arrays of ones for the inputs that a program depends on."""
    pairs = (p for v, s in zip(inputs, structures, strict=True) for p in leaves(s, v.name))
    types = {name: type for name, type in pairs if name in wanted}
    if any(type.size > 2**20 for type in types.values()):
        raise InputError("no caller has arrays of this size")
    return {n: np.ones(t.dims).astype(numpy_dtype(t.dtype)) for n, t in types.items()}


def limit_memory() -> None:
    """Make a large allocation fail instead of slowing the machine down."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main(seed: int, count: int, files: list[str]) -> None:
    """Try ``count`` damaged models and print what became of them."""
    limit_memory()
    damages: Sequence[Callable[[bytes, random.Random], bytes]] = DAMAGES
    if files == ["operators"]:
        originals, damages = operator_models(), (edited,)
    else:
        originals = small_models() + [Path(f).read_bytes() for f in files]
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        damaged = chance.choice(damages)(chance.choice(originals), chance)
        start = time.process_time()
        try:
            outcomes[try_model(damaged)] += 1
        except BaseException:
            sys.stderr.write(f"seed {seed}, model {number}\n")
            raise
        slowest = max(slowest, time.process_time() - start)
    sys.stdout.write(json.dumps({"outcomes": outcomes, "slowest": slowest}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
