# SPDX-License-Identifier: MIT
"""Several threads in one program: the same bits for any number, and always an end."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import ranvier
from agreement import assert_agree
from ranvier.codegen.build import Built
from ranvier.codegen.targets import parse_target
from ranvier.compiler import build_canonical
from ranvier.errors import ExecutionError
from ranvier.ir import interpret, parse_graph
from ranvier.runtime import aligned_empty, machine
from ranvier.runtime.executor import Executor
from ranvier.runtime.team import Workers, thread_count

SECONDS = 60
"""After which something is taken to wait for ever."""

ROW = "float32[96, 1024]"
"""Large enough that threads share the kernels."""

STRAIGHT = f"""graph @g(%a: {ROW}, %b: {ROW}) {{
  %c: {ROW} = add(%a, %b)
  %d: float32[1024, 96] = transpose(%c) {{permutation=(1, 0)}}
  %e: {ROW} = transpose(%d) {{permutation=(1, 0)}}
  %f: float32[96] = reduce_sum(%e) {{axes=(1,)}}
  %g: {ROW} = tanh(%e)
  return %g, %f, %c
}}
"""

SCAN = f"""graph @g(%a: {ROW}, %xs: float32[3, 96, 1024]) {{
  %x: {ROW}, %ys: float32[3, 96, 1024] = scan(%a, %xs) {{body=graph @body(%s: {ROW}, %v: {ROW}) {{
    %n: {ROW} = add(%s, %v)
    %m: {ROW} = tanh(%n)
    return %m, %n
  }}, length=3, num_carried=1, num_scanned=1}}
  return %x, %ys
}}
"""

BRANCH = f"""graph @g(%go: bool[], %a: {ROW}, %b: {ROW}) {{
  %x: {ROW}, %y: {ROW} = branch(%go, %a, %b)
  {{then_body=graph @yes(%p: {ROW}, %q: {ROW}) {{
    %r: {ROW} = add(%p, %q)
    return %r, %r
  }}, else_body=graph @no(%p: {ROW}, %q: {ROW}) {{
    return %q, %p
  }}}}
  %z: {ROW} = mul(%x, %y)
  return %x, %z
}}
"""

WHILE = f"""graph @g(%go: bool[], %a: {ROW}, %limit: float32[]) {{
  %x: {ROW} = while_loop(%go, %a, %limit)
  {{body=graph @body(%i: int64[], %s: {ROW}, %top: float32[]) {{
    %t: {ROW} = add(%s, %s)
    %peak: float32[] = reduce_max(%t) {{axes=(0, 1)}}
    %more: bool[] = less(%peak, %top)
    return %more, %t
  }}, max_trips=MAX}}
  return %x
}}
"""

BRANCH_IN_LOOP = f"""graph @g(%a: {ROW}, %b: {ROW}, %flags: bool[4]) {{
  %x: {ROW} = scan(%a, %flags, %b) {{body=graph @body(%s: {ROW}, %go: bool[], %c: {ROW}) {{
    %n: {ROW} = branch(%go, %s, %c)
    {{then_body=graph @yes(%p: {ROW}, %q: {ROW}) {{
      %r: {ROW} = add(%p, %q)
      return %r
    }}, else_body=graph @no(%p: {ROW}, %q: {ROW}) {{
      %r: {ROW} = mul(%p, %q)
      return %r
    }}}}
    return %n
  }}, length=4, num_carried=1, num_scanned=1}}
  return %x
}}
"""

SCRIPT = """
    import numpy as np, os, sys
    from ranvier.compiler import build_canonical
    from ranvier.codegen.targets import parse_target
    from ranvier.ir import parse_graph
    from ranvier.runtime.executor import Executor
    from ranvier.runtime.team import Workers
    built = build_canonical(parse_graph({text!r}), parse_target("cpu"))
    executor = Executor(built.program, built.library, built.weights, Workers(2))
    a = np.full((96, 1024), 0.5, np.float32)
    def run():
        return float(executor.run([a, a])[1][0])
"""


def rows(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def built_from(text: str) -> Built:
    built = build_canonical(parse_graph(text), parse_target("cpu"))
    assert built.program.is_parallel
    return built


def on(threads: int, built: Built) -> Executor:
    return Executor(built.program, built.library, built.weights, Workers(threads))


def in_time(action: Callable[[], Any]) -> Any:
    """Return or raise what ``action`` does; fail if it never ends."""
    future: Future[Any] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except Exception as error:  # noqa: BLE001 -- raised again by `result`
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future.result(SECONDS)


# The same bits


@pytest.mark.parametrize(
    ("text", "inputs"),
    [
        (STRAIGHT, [rows(0, 96, 1024), rows(1, 96, 1024)]),
        (SCAN, [rows(0, 96, 1024), rows(1, 3, 96, 1024)]),
        (BRANCH, [np.array(True), rows(0, 96, 1024), rows(1, 96, 1024)]),
        (BRANCH, [np.array(False), rows(0, 96, 1024), rows(1, 96, 1024)]),
        (
            BRANCH_IN_LOOP,
            [rows(0, 96, 1024), rows(1, 96, 1024), np.array([True, False, False, True])],
        ),
        (WHILE.replace("MAX", "-1"), [np.array(True), rows(0, 96, 1024), np.float32(50)]),
        (WHILE.replace("MAX", "3"), [np.array(True), rows(0, 96, 1024), np.float32(5000)]),
    ],
    ids=["straight", "scan", "then", "else", "loop of branches", "while", "while, limited"],
)
def test_every_number_of_threads_gives_the_same_bits(text: str, inputs: list[Any]) -> None:
    built = built_from(text)
    alone = on(1, built).run(inputs)
    assert_agree(alone, interpret(parse_graph(text), inputs), atol=1e-4)
    for threads in (2, 3, 5):
        executor = on(threads, built)
        for _ in range(20):
            results = in_time(partial(executor.run, inputs))
            for result, expected in zip(results, alone, strict=True):
                np.testing.assert_array_equal(result, expected)


def labelled_model() -> bytes:
    """Return a model with an op that runs on the host between two kernels that threads share."""
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Mul", ["t", "t"], ["s"]),
        helper.make_node("Round", ["t"], ["r"]),
        helper.make_node("Cast", ["r"], ["i"], to=TensorProto.INT64),
        helper.make_node(
            "LabelEncoder",
            ["i"],
            ["l"],
            domain="ai.onnx.ml",
            keys_int64s=[-1, 0, 1],
            values_floats=[0.5, 1.5, 2.5],
        ),
        helper.make_node("Add", ["l", "s"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 1024]) for n in ("x", "y"))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(helper.make_graph(nodes, "labels", [x], [y]), opset_imports=imports)
    model.ir_version = 8
    data: bytes = model.SerializeToString()
    return data


def labelled(x: Any) -> Any:
    t = np.tanh(x)
    return np.round(t) + np.float32(1.5) + t * t


def test_workers_join_every_segment_between_host_steps() -> None:
    x = rows(0, 96, 1024)
    alone = ranvier.Session(labelled_model(), threads=1).run(None, {"x": x})
    assert_agree(alone, [labelled(x)])
    for threads in (2, 3):
        session = ranvier.Session(labelled_model(), threads=threads)
        for _ in range(10):
            (result,) = in_time(partial(session.run, None, {"x": x}))
            np.testing.assert_array_equal(result, alone[0])
        profile = in_time(partial(session.profile, {"x": x}))
        np.testing.assert_array_equal(profile.outputs[0], alone[0])
        assert any(info.parallel for info, _ in profile.steps)


@pytest.mark.parametrize("name", ["classification", "segmentation"])
def test_networks_give_the_same_bits(name: str) -> None:
    path = Path(ranvier.__file__).parent / "cli" / "models" / f"{name}.onnx"
    sessions = [ranvier.Session(path, threads=threads) for threads in (1, 2, 3)]
    (port,) = sessions[0].get_inputs()
    shape = [size if isinstance(size, int) else 64 for size in port.shape]
    feed = {port.name: rows(0, 1, *shape[1:])}
    first, *others = (in_time(partial(s.run, None, feed)) for s in sessions)
    for results in others:
        for result, expected in zip(results, first, strict=True):
            np.testing.assert_array_equal(result, expected)


# Runs at the same time


def test_sessions_and_callers_do_not_disturb_each_other() -> None:
    sessions = [ranvier.Session(labelled_model(), threads=threads) for threads in (2, 3, 2)]
    inputs = [rows(seed, count, 1024) for seed, count in enumerate((96, 80, 96, 112))]
    expected = [labelled(x) for x in inputs]

    def work(caller: int) -> None:
        for turn in range(12):
            k = (caller + turn) % len(inputs)
            session = sessions[(caller * 5 + turn) % len(sessions)]
            assert_agree(session.run(None, {"x": inputs[k]}), [expected[k]])

    def all_of_them() -> bool:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))
        return True

    assert in_time(all_of_them)


def test_a_second_run_works_alone_while_the_first_has_the_workers() -> None:
    built = built_from(STRAIGHT)
    workers = Workers(2)
    executor = Executor(built.program, built.library, built.weights, workers)
    inputs = [rows(0, 96, 1024), rows(1, 96, 1024)]
    expected = executor.run(inputs)
    team = workers.borrow(executor._library)
    assert team is not None
    assert workers.borrow(executor._library) is None
    for result, value in zip(in_time(lambda: executor.run(inputs)), expected, strict=True):
        np.testing.assert_array_equal(result, value)
    team.give_back()
    assert workers.borrow(executor._library) is team


def test_callers_of_a_bound_run_take_turns() -> None:
    built = built_from(STRAIGHT)
    executor = on(2, built)
    inputs = [aligned_empty((96, 1024), np.float32) for _ in range(2)]
    for seed, array in enumerate(inputs):
        array[...] = rows(seed, 96, 1024)
    expected = executor.run(inputs)
    results = [aligned_empty(value.shape, value.dtype) for value in expected]
    run = executor.bind(inputs, results)

    def all_of_them() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: run(), range(40)))

    in_time(all_of_them)
    for result, value in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, value)


def test_workers_are_there_for_the_run_after_a_failure(monkeypatch: Any) -> None:
    session = ranvier.Session(labelled_model(), threads=2)
    x = rows(0, 96, 1024)
    session.run(None, {"x": x})
    executor, _ = next(iter(session._executors.values()))
    assert isinstance(executor, Executor)
    (number,) = executor._hosts
    with monkeypatch.context() as patch:
        patch.setitem(executor._hosts, number, Refusing())
        with pytest.raises(ExecutionError, match="refused"):
            in_time(lambda: session.run(None, {"x": x}))
    assert_agree(in_time(lambda: session.run(None, {"x": x})), [labelled(x)])
    assert session._workers.borrow(executor._library) is not None


class Refusing:
    """A host step that fails."""

    def run(self, *_: Any) -> None:
        raise ExecutionError("refused")


# Beginning and end of the workers


def workers() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("ranvier-")}


def test_workers_come_with_the_first_run_and_go_with_the_session() -> None:
    before = workers()
    session = ranvier.Session(labelled_model(), threads=3)
    assert workers() <= before
    for _ in range(2):
        session.run(None, {"x": rows(0, 96, 1024)})
        assert len(workers() - before) == 2
    del session
    gc.collect()
    deadline = time.monotonic() + SECONDS
    while workers() - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_small_programs_start_no_workers() -> None:
    before = workers()
    ranvier.Session(labelled_model(), threads=3).run(None, {"x": rows(0, 1, 1024)})
    assert workers() <= before


def test_threads_that_cannot_start_are_an_execution_error(monkeypatch: Any) -> None:
    session = ranvier.Session(labelled_model(), threads=4)
    x = rows(0, 96, 1024)
    start = threading.Thread.start

    def refuse_the_third(thread: threading.Thread) -> None:
        if thread.name == "ranvier-3":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_the_third)
        with pytest.raises(ExecutionError, match="cannot start thread 3 of 4"):
            session.run(None, {"x": x})
    assert_agree(in_time(lambda: session.run(None, {"x": x})), [labelled(x)])


def script(body: str) -> str:
    """Run a script that has a program for two threads; return what it prints."""
    code = textwrap.dedent(SCRIPT).format(text=STRAIGHT) + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_two_threads_on_one_processor_finish() -> None:
    body = """
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print([run() for _ in range(30)] == [1024.0] * 30)
    """
    assert script(body) == "True\n"


def test_a_forked_process_starts_its_own_workers() -> None:
    body = """
        run()
        child = os.fork()
        if child == 0:
            print(run(), flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1], run())
    """
    assert script(body) == "1024.0\n0 1024.0\n"


def test_the_interpreter_ends_with_workers_in_wait_and_runs_at_its_exit() -> None:
    body = """
        import atexit
        atexit.register(lambda: print("late", run()))
        print(run())
    """
    assert script(body) == "1024.0\nlate 1024.0\n"


def test_an_interrupt_leaves_the_workers_ready() -> None:
    body = """
        import signal
        caught = 0
        for _ in range(20):
            signal.setitimer(signal.ITIMER_REAL, 0.003)
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            try:
                while True:
                    run()
            except KeyboardInterrupt:
                caught += 1
        print(caught, run())
    """
    assert script(body) == "20 1024.0\n"


# How many


def test_default_is_one_thread_a_core(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "_TOPOLOGY", tmp_path)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 5})
    assert thread_count(None) == 4
    for cpu, siblings in ((0, "0-1"), (1, "0-1"), (2, "2-3"), (5, "4-5")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert thread_count(None) == 3
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert thread_count(None) == 2
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert thread_count(None) == 3
    assert thread_count(7) == 7
