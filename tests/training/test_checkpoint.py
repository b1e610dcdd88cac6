# SPDX-License-Identifier: MIT
"""Checkpoints: what was saved comes back, a killed save loses nothing, damage has a name."""

from __future__ import annotations

import json
import logging
import os
import random
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

import kill_saves
from ranvier.errors import CheckpointError
from ranvier.runtime.dtypes import Array
from ranvier.training.checkpoint import (
    Checkpoint,
    claim_folder,
    identity_of,
    latest,
    load_checkpoint,
    prune,
    require_same_model,
    save_checkpoint,
    steps_in,
    write_checkpoint,
)

NUMBERS = [
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64"),
    *(ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.int4),
]


def some_arrays() -> dict[str, Array]:
    """Arrays of every element type, scalars and empty ones among them."""
    generator = np.random.default_rng(0)
    arrays = {
        f"{place}.{np.dtype(kind)}.{shape}": np.asarray(
            generator.integers(0, 2, shape).astype(kind)
        )
        for place, kind in enumerate(NUMBERS)
        for shape in ((), (3,), (2, 0, 5), (3, 5))
    }
    special = np.array([np.nan, -0.0, np.inf, 5e-324], np.float64)
    return arrays | {"/layer/special": special, "key": np.array([1, 2**32 - 1], np.uint32)}


def assert_same(found: Any, expected: dict[str, Array]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path, some_arrays(), {"step": 7, "name": 'a "quoted" é'})


def test_what_was_saved_comes_back(saved: Path) -> None:
    found = load_checkpoint(saved)
    assert_same(found.arrays, some_arrays())
    assert found.meta == {"step": 7, "name": 'a "quoted" é'}
    assert found.path == saved
    assert saved.name == "step-000000007.safetensors"


@given(
    arrays=st.dictionaries(
        st.text('abc/._é"\\', min_size=1, max_size=6).filter(lambda name: ".." not in name),
        st.sampled_from(list(some_arrays().values())),
        max_size=5,
    ),
    meta=st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(max_size=9),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=6,
        ),
        max_size=4,
    ),
)
def test_any_arrays_and_texts_come_back(
    arrays: dict[str, Array], meta: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "file"
    write_checkpoint(path, arrays, meta)
    found = load_checkpoint(path)
    assert_same(found.arrays, arrays)
    assert found.meta == meta


def test_other_readers_of_the_format_read_it(saved: Path) -> None:
    expected = some_arrays()
    with safe_open(str(saved), framework="np") as file:
        assert set(file.keys()) == set(expected)
        for name in ("/layer/special", "key"):
            assert file.get_tensor(name).tobytes() == expected[name].tobytes()


def test_arrays_are_aligned_and_read_only(saved: Path) -> None:
    for array in load_checkpoint(saved).arrays.values():
        assert array.flags.aligned
        assert not array.flags.writeable


def test_strided_and_foreign_arrays_are_stored_by_value(tmp_path: Path) -> None:
    strided = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::-3]
    foreign = np.arange(5, dtype=">f8")
    path = save_checkpoint(tmp_path, {"strided": strided, "foreign": foreign}, {"step": 0})
    found = load_checkpoint(path).arrays
    np.testing.assert_array_equal(found["strided"], strided)
    np.testing.assert_array_equal(found["foreign"], foreign)
    assert found["foreign"].dtype == np.float64


# --- interrupted saves -------------------------------------------------------------------------


def run_killer(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, kill_saves.__file__, str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_killed_at_any_system_call_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    done = run_killer(tmp_path)
    out, errors = done.communicate(timeout=200)
    if done.returncode == kill_saves.NO_PTRACE:
        pytest.skip("this system does not allow ptrace")
    assert done.returncode == 0, errors.decode()
    assert int(out) > 40, "open, writes, seek, fsync, close, rename, fsync of the folder, unlinks"


def test_killed_at_random_moments_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    moments = random.Random(0)
    for round_ in range(6):
        folder = tmp_path / str(round_)
        process = run_killer(folder, "--loop")
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 60)[0], "the first save is done"
        try:
            process.wait(moments.uniform(0, 0.15))
        except subprocess.TimeoutExpired:
            process.kill()
        out, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, errors.decode()
        reported = int(out.split()[-1])
        assert kill_saves.read(folder) >= reported


def test_killed_at_any_byte_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    # The system kills a process with SIGXFSZ in the write that passes the limit.
    code = (
        "import os, resource, signal, sys; from pathlib import Path; import kill_saves\n"
        "for limit in range(0, 14000, 397):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "        kill_saves.save(Path(sys.argv[1]), 2)\n"
        "        os._exit(0)\n"
        "    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])\n"
        "    assert kill_saves.read(Path(sys.argv[1])) == (1 if killed else 2)\n"
        "assert not killed\n"
    )
    kill_saves.save(tmp_path, 1)
    paths = [str(Path(kill_saves.__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_full_disk_is_an_error_and_the_old_file_stays(saved: Path) -> None:
    before = saved.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write the checkpoint \(.*untouched"):
            save_checkpoint(saved.parent, some_arrays(), {"step": 7})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


# --- damaged and hostile files -----------------------------------------------------------------


def test_every_truncation_is_an_error(saved: Path) -> None:
    data = saved.read_bytes()
    for size in [*range(200), *range(200, len(data), 97), len(data) - 1]:
        saved.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=r"step-000000007\.safetensors: "):
            load_checkpoint(saved)


def test_every_flipped_bit_is_an_error(saved: Path) -> None:
    data = saved.read_bytes()
    generator = random.Random(1)
    for place in [*range(0, 400, 3), *range(400, len(data), 53)]:
        changed = bytearray(data)
        changed[place] ^= 1 << generator.randrange(8)
        saved.write_bytes(changed)
        with pytest.raises(CheckpointError):
            load_checkpoint(saved)


def test_appended_bytes_are_an_error(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(saved)


def weights_file(path: Path, header: dict[str, Any] | bytes, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


TEXTS = {"ranvier.checkpoint": "1", "ranvier.sha256": "0" * 64, "ranvier.meta": "{}"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (2**40).to_bytes(8, "little") + b"{}",
        (100_000_001).to_bytes(8, "little") + b" " * 64,
        b"\x02" + bytes(7) + b"[]",
        b"\x64" + bytes(7) + b'{"a":' * 20,
    ],
    ids=["empty", "sizes", "huge", "over-limit", "list", "nested"],
)
def test_hostile_headers_are_errors(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "file")


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
        {"dtype": "U8", "shape": [8]},
        7,
    ],
)
def test_hostile_entries_are_errors(entry: Any, tmp_path: Path) -> None:
    path = weights_file(tmp_path / "file", {"__metadata__": TEXTS, "a": entry}, bytes(8))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "types",
    [
        "[]",
        '{"a": 3}',
        '{"a": []}',
        '{"a": ["bfloat16", -4]}',
        '{"a": ["string", 1]}',
        '{"a": ["bfloat16", 5]}',
        '{"a": ["bfloat16", 0, 1e400]}',
        "{",
        '{"a": [null]}',
        '{"a": ["bfloat16", 0, 99999999999999999999999]}',
    ],
)
def test_hostile_types_are_errors(types: str, tmp_path: Path) -> None:
    texts = {**TEXTS, "ranvier.types": types}
    entry = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}
    path = weights_file(tmp_path / "file", {"__metadata__": texts, "a": entry}, bytes(8))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/../b", "a\\..\\b", "..", "a\0", "\n"])
def test_names_that_leave_a_folder_are_errors(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"expected a printable name without '\.\.'"):
        save_checkpoint(tmp_path, {name: np.zeros(1)}, {"step": 0})
    # And in a file that somebody else wrote with a correct checksum.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ranvier.training.checkpoint._check_name", lambda path, name: None)
        path = save_checkpoint(tmp_path, {name: np.zeros(1)}, {"step": 0})
    with pytest.raises(CheckpointError, match="an array is called"):
        load_checkpoint(path)


def test_weights_that_are_no_checkpoint(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "file", {})
    with pytest.raises(CheckpointError, match="file: a weights file, but no checkpoint of a run"):
        load_checkpoint(path)


def test_other_version(tmp_path: Path) -> None:
    path = weights_file(tmp_path / "file", {"__metadata__": {**TEXTS, "ranvier.checkpoint": "2"}})
    with pytest.raises(CheckpointError, match="written in format '2', this version reads 1; use"):
        load_checkpoint(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint .*No such file"):
        load_checkpoint(tmp_path / "none")


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({}, r"meta\['step'\] is None, expected the steps done"),
        ({"step": True}, "is True"),
        ({"step": -1}, "is -1"),
        ({"step": 1, "loss": float("nan")}, "no place in JSON .*Out of range"),
        ({"step": 1, "array": np.zeros(1)}, "no place in JSON .*ndarray"),
        ({"step": 1, "text": "x" * 2**25}, "store large parts as arrays"),
    ],
)
def test_meta_that_cannot_be_stored(meta: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        save_checkpoint(tmp_path, {}, meta)


def test_arrays_that_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="array 'a' is <U1, expected numbers"):
        save_checkpoint(tmp_path, {"a": np.array(["x"])}, {"step": 0})


# --- folders -----------------------------------------------------------------------------------


def fill(folder: Path, *steps: int) -> list[Path]:
    return [save_checkpoint(folder, {"a": np.array(s)}, {"step": s}) for s in steps]


def kept(folder: Path) -> list[int]:
    return [step for step, _ in steps_in(folder)]


def test_latest_of_nothing(tmp_path: Path) -> None:
    assert latest(tmp_path).checkpoint is None
    assert latest(tmp_path / "none").checkpoint is None


def test_latest_passes_over_damaged_files_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    paths = fill(tmp_path, 5, 10, 1_000_000_000)
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        found = latest(tmp_path)
    assert found.checkpoint is not None
    assert found.checkpoint.meta["step"] == 10
    (error,) = found.damaged
    assert "step-1000000000.safetensors" in str(error)
    assert "checkpoint passed over" in caplog.text


def test_folder_of_damaged_files_is_an_error(tmp_path: Path) -> None:
    for path in fill(tmp_path, 5, 10):
        path.write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"none of 2 checkpoints can be read; the newest: .*10"
    ):
        latest(tmp_path)


def test_last_ones_and_protected_ones_stay(tmp_path: Path) -> None:
    fill(tmp_path, 1, 2, 3, 4, 5)
    (tmp_path / ".step-000000003.safetensors.0a1b.tmp").write_bytes(b"part")
    (tmp_path / "notes.txt").write_text("mine")
    prune(tmp_path, 2, protect={1, 99})
    assert kept(tmp_path) == [1, 4, 5]
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("step")) == [
        "notes.txt"
    ]


def test_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1, 5)
    claim_folder(tmp_path, 5)
    with pytest.raises(CheckpointError, match="is of step 5, the run is at step 4; resume from it"):
        claim_folder(tmp_path, 4)
    assert kept(tmp_path) == [1, 5]


def test_damaged_files_of_later_steps_are_set_aside(tmp_path: Path) -> None:
    paths = fill(tmp_path, 1, 5)
    paths[1].write_bytes(b"damaged")
    claim_folder(tmp_path, 1)
    assert kept(tmp_path) == [1]
    assert (tmp_path / "step-000000005.damaged").read_bytes() == b"damaged"


# --- models ------------------------------------------------------------------------------------


def checkpoint_of(parameters: dict[str, Array]) -> Checkpoint:
    return Checkpoint(Path("run/c"), parameters, {"model": identity_of(parameters)})


def test_same_model_is_accepted() -> None:
    parameters = {"w": np.zeros((2, 3), np.float32), "b": np.zeros((), ml_dtypes.bfloat16)}
    require_same_model(checkpoint_of(parameters), identity_of(parameters))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, r"the model lacks 'w' \(float32\[2, 3\]\)"),
        (
            {"w": np.zeros((2, 4), np.float32)},
            r"'w' is float32\[2, 3\] in the checkpoint, float32\[2, 4\] in",
        ),
        (
            {"w": np.zeros((2, 3), np.float64)},
            r"'w' is float32\[2, 3\] in the checkpoint, float64\[2, 3\] in",
        ),
        (
            {"w": np.zeros((2, 3), np.float32), "b": np.zeros(1)},
            r"the checkpoint lacks 'b' \(float64\[1\]\)",
        ),
    ],
)
def test_other_model_is_an_error(parameters: dict[str, Array], message: str) -> None:
    found = checkpoint_of({"w": np.zeros((2, 3), np.float32)})
    with pytest.raises(CheckpointError, match=f"run/c: is of another model: {message}"):
        require_same_model(found, identity_of(parameters))


def test_many_differences_are_counted() -> None:
    found = checkpoint_of({f"w{i}": np.zeros(1) for i in range(9)})
    with pytest.raises(CheckpointError, match=r"and 4 more\. To take over what fits, load"):
        require_same_model(found, {})


def test_checkpoint_without_a_model_is_an_error() -> None:
    with pytest.raises(CheckpointError, match="does not say of which model it is"):
        require_same_model(Checkpoint(Path("c"), {}, {}), {})
