# SPDX-License-Identifier: MIT
"""Log files: other readers read them, and a resumed run's are those of an unbroken one."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fake_run import FakeRun
from ranvier.errors import TrainingError
from ranvier.training.callbacks import Callback, Checkpoints
from ranvier.training.checkpoint import checkpoint_path, load_checkpoint
from ranvier.training.logs import CSVLog, JSONLog, TensorBoardLog
from ranvier.training.progress import Progress
from ranvier.training.tensorboard import EventFile, crc32c

EPOCHS = [
    {"loss": 0.5, "val_loss": 0.75},
    {"loss": 0.25, "val_loss": math.nan},
    {"loss": 0.1, "val_loss": math.inf, "val_auc": 1 / 3},
]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# --- CSV ---------------------------------------------------------------------------------------


def test_csv_of_epochs(tmp_path: Path) -> None:
    FakeRun(EPOCHS).fit([CSVLog(tmp_path / "new" / "log.csv")])
    assert (tmp_path / "new" / "log.csv").read_text(encoding="utf-8") == (
        "epoch,step,loss,val_loss,val_auc\n"
        "0,4,0.5,0.75,\n"
        "1,8,0.25,nan,\n"
        "2,12,0.1,inf,0.3333333333333333\n"
    )


def test_csv_of_steps(tmp_path: Path) -> None:
    run = FakeRun(EPOCHS).fit([CSVLog(tmp_path / "log.csv", "steps")])
    rows = rows_of(tmp_path / "log.csv")
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert [float(row["loss"]) for row in rows] == run.history.series("loss", "steps")[1]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
"""Without NUL, which the csv module of Python 3.10 cannot read."""


@given(names=st.lists(NAMES, min_size=1, max_size=4, unique=True))
def test_csv_with_any_names(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("csv") / "log.csv"
    names = [name for name in names if name not in {"epoch", "step"}]
    epochs = [dict.fromkeys(names[: count + 1], float(count)) for count in range(len(names))]
    FakeRun(epochs).fit([CSVLog(path)])
    for row, expected in zip(rows_of(path), epochs, strict=True):
        found = {n: float(v) for n, v in row.items() if v and n not in {"epoch", "step"}}
        assert found == expected


# --- JSON --------------------------------------------------------------------------------------


def test_lines_of_json(tmp_path: Path) -> None:
    FakeRun(EPOCHS, steps_per_epoch=2).fit([JSONLog(tmp_path / "log.jsonl")])
    lines = lines_of(tmp_path / "log.jsonl")
    assert [line["kind"] for line in lines] == ["step", "step", "epoch"] * 3
    assert lines[0]["figures"] == {"loss": 1.0, "seconds": 0.01, "samples": 8.0}
    last = lines[-1]
    assert (last["epoch"], last["step"]) == (2, 6)
    assert last["figures"] == {"loss": 0.1, "val_loss": "inf", "val_auc": 1 / 3}
    assert lines[5]["figures"]["val_loss"] == "nan"
    assert last["time"].endswith("+00:00")


def test_lines_of_epochs_alone(tmp_path: Path) -> None:
    FakeRun(EPOCHS).fit([JSONLog(tmp_path / "log.jsonl", ["epochs"])])
    assert len(lines_of(tmp_path / "log.jsonl")) == 3


# --- resumed runs ------------------------------------------------------------------------------


def without_time(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key != "time"}


def json_rows(path: Path) -> list[Any]:
    return [without_time(line) for line in lines_of(path)]


LOGS: list[tuple[Callable[[Path], Callback], Callable[[Path], list[Any]]]] = [
    (CSVLog, rows_of),
    (lambda path: CSVLog(path, "steps"), rows_of),
    (JSONLog, json_rows),
]


@pytest.mark.parametrize(("log", "read"), LOGS, ids=["csv", "csv-steps", "json"])
@pytest.mark.parametrize("torn", [b"", b"2,12", b'{"kind": "st', b"\xff\n", b"2,12,1,2,3,4,5\n"])
def test_resumed_log_is_that_of_an_unbroken_run(
    log: Callable[[Path], Callback],
    read: Callable[[Path], list[Any]],
    torn: bytes,
    tmp_path: Path,
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    FakeRun(EPOCHS).fit([log(whole)])
    # Goes one epoch further than the checkpoint from which it is resumed, and is then killed.
    FakeRun(EPOCHS[:2]).fit([log(part), Checkpoints(tmp_path / "c")])
    part.write_bytes(part.read_bytes() + torn)
    FakeRun(EPOCHS).fit([log(part)], load_checkpoint(checkpoint_path(tmp_path / "c", 4)))
    assert read(part) == read(whole)


@pytest.mark.parametrize(("log", "read"), LOGS, ids=["csv", "csv-steps", "json"])
def test_new_run_replaces_the_file(
    log: Callable[[Path], Callback], read: Callable[[Path], list[Any]], tmp_path: Path
) -> None:
    FakeRun(EPOCHS).fit([log(tmp_path / "log")])
    FakeRun(EPOCHS[:1]).fit([log(tmp_path / "log")])
    FakeRun(EPOCHS[:1]).fit([log(tmp_path / "other")])
    assert read(tmp_path / "log") == read(tmp_path / "other")


def test_rows_are_there_while_the_run_goes_on(tmp_path: Path) -> None:
    class Reader(Callback):
        def on_step_end(self, run: object, step: int, figures: object) -> None:
            assert len(rows_of(tmp_path / "log.csv")) == step
            assert len(lines_of(tmp_path / "log.jsonl")) == step + (step - 1) // 4

    logs = [CSVLog(tmp_path / "log.csv", "steps"), JSONLog(tmp_path / "log.jsonl")]
    FakeRun(EPOCHS).fit([*logs, Reader()])


@pytest.mark.parametrize("log", [CSVLog, JSONLog, TensorBoardLog])
def test_place_that_cannot_be_written(log: Callable[[Path], Callback], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match=r"file/log: cannot write the log \("):
        FakeRun(EPOCHS).fit([log(tmp_path / "file" / "log")])


def test_unknown_kind(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="CSVLog: kind 'batches', expected 'epochs' or 'steps'"):
        CSVLog(tmp_path, "batches")  # type: ignore[arg-type]


# --- TensorBoard -------------------------------------------------------------------------------


def event_class() -> Any:
    """TensorBoard's messages by protobuf's own library, from their published definitions."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    messages = {
        "Event": [
            ("wall_time", 1, "DOUBLE", ""),
            ("step", 2, "INT64", ""),
            ("file_version", 3, "STRING", ""),
            ("summary", 5, "MESSAGE", ".t.Summary"),
            ("session_log", 7, "MESSAGE", ".t.SessionLog"),
        ],
        "Summary": [("value", 1, "MESSAGE", ".t.Value")],
        "Value": [("tag", 1, "STRING", ""), ("simple_value", 2, "FLOAT", "")],
        "SessionLog": [("status", 1, "INT32", "")],
    }
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            repeated = (name, field) == ("Summary", "value")
            message.field.add(
                name=field,
                number=number,
                type=f"TYPE_{kind}",
                type_name=of or None,
                label="LABEL_REPEATED" if repeated else "LABEL_OPTIONAL",
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def bitwise_crc(data: bytes) -> int:
    """CRC-32C by its definition: the remainder of a division of polynomials."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if (crc ^ byte >> bit) & 1 else 0)
    return crc ^ 0xFFFFFFFF


def events_in(path: Path) -> Iterator[Any]:
    """Read records and check both checksums of each."""

    def unmasked(place: int) -> int:
        masked = int.from_bytes(data[place : place + 4], "little")
        rotated = (masked - 0xA282EAD8) % 2**32
        return (rotated >> 17 | rotated << 15) % 2**32

    data, place, event = path.read_bytes(), 0, event_class()
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        assert unmasked(place + 8) == bitwise_crc(data[place : place + 8])
        body = data[place + 12 : place + 12 + length]
        assert unmasked(place + 12 + length) == bitwise_crc(body)
        yield event.FromString(body)
        place += length + 16


@given(st.binary(max_size=64))
def test_checksum_is_the_definition(data: bytes) -> None:
    assert crc32c(data) == bitwise_crc(data)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2**63 - 1),
            st.dictionaries(st.text(max_size=200), st.floats(), max_size=4),
        ),
        max_size=5,
    )
)
def test_event_files_are_what_protobuf_reads(
    rows: list[tuple[int, dict[str, float]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = EventFile(tmp_path_factory.mktemp("events"), 300)
    for step, scalars in rows:
        file.add(step, scalars)
    file.close()
    version, start, *events = events_in(file.path)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (300, 1)
    assert 0 <= start.wall_time - version.wall_time < 60
    for event, (step, scalars) in zip(events, rows, strict=True):
        assert event.step == step
        found = {value.tag: value.simple_value for value in event.summary.value}
        with np.errstate(over="ignore"):
            expected = {tag: float(np.float64(x).astype(np.float32)) for tag, x in scalars.items()}
        np.testing.assert_equal(found, expected)


def test_curves_of_training_and_validation_share_a_chart(tmp_path: Path) -> None:
    FakeRun(EPOCHS).fit([TensorBoardLog(tmp_path, every=2)])
    (train,), (validation,) = ((tmp_path / run).iterdir() for run in ("train", "validation"))
    steps = [
        e.step for e in events_in(train) if e.summary.value[:1] and "step" in e.summary.value[0].tag
    ]
    assert steps == [2, 4, 6, 8, 10, 12]
    losses = [
        (e.step, v.tag, v.simple_value) for e in events_in(validation) for v in e.summary.value
    ]
    np.testing.assert_equal(
        losses,
        [
            (4, "epoch/loss", 0.75),
            (8, "epoch/loss", math.nan),
            (12, "epoch/loss", math.inf),
            (12, "epoch/auc", np.float32(1 / 3)),
        ],
    )


def test_tensorboard_reads_a_resumed_run(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    FakeRun(EPOCHS).fit([TensorBoardLog(tmp_path / "logs"), Checkpoints(tmp_path / "c")])
    found = load_checkpoint(checkpoint_path(tmp_path / "c", 4))
    FakeRun(EPOCHS[:2]).fit([TensorBoardLog(tmp_path / "logs")], found)
    read = accumulators.EventAccumulator(str(tmp_path / "logs" / "train")).Reload()
    assert set(read.Tags()["scalars"]) == {
        "epoch/loss",
        "step/loss",
        "step/samples",
        "step/seconds",
    }
    assert [(e.step, e.value) for e in read.Scalars("epoch/loss")] == [(4, 0.5), (8, 0.25)]
    assert [e.step for e in read.Scalars("step/loss")] == list(range(1, 9))


# --- progress ----------------------------------------------------------------------------------


def test_progress_is_silent_without_a_terminal() -> None:
    text = io.StringIO()
    FakeRun(EPOCHS).fit([Progress(Console(file=text, force_terminal=False))])
    assert text.getvalue() == ""


def test_progress_leaves_a_line_per_epoch() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    FakeRun([{"loss": 0.5, "[red]": 2.0}]).fit([Progress(console)])
    assert "epoch 1/1  loss 0.5  [red] 2  " in text.getvalue()
    assert "samples/s" in text.getvalue()
    assert text.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_progress_of_a_run_taken_up_within_an_epoch() -> None:
    text = io.StringIO()
    progress = Progress(Console(file=text, force_terminal=True, width=120, color_system=None))
    run = FakeRun([{}, {}])
    run.step, run.epoch = 6, 1
    progress.on_train_begin(run)
    progress.on_step_end(run, 7, {"loss": 0.5})
    progress.close()
    assert "epoch 2/2" in text.getvalue()
    assert "3/4" in text.getvalue()


def test_progress_gives_the_terminal_back_after_an_error() -> None:
    class Failing(Callback):
        def on_step_end(self, run: object, step: int, figures: object) -> None:
            raise KeyboardInterrupt

    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, color_system=None)
    with pytest.raises(KeyboardInterrupt):
        FakeRun(EPOCHS).fit([Progress(console), Failing()])
    assert "\x1b[?25h" in text.getvalue()
