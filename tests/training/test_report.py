# SPDX-License-Identifier: MIT
"""Reports: well-formed, self-contained, escaped, and page and JSON tell the same."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import TrainingError
from ranvier.training.charts import line_chart, ticks
from ranvier.training.history import History
from ranvier.training.kpis import KeyFigures
from ranvier.training.report import Confusion, TrainingReport, describe_machine, page, write_report

SVG = "{http://www.w3.org/2000/svg}"
XHTML = "{http://www.w3.org/1999/xhtml}"
HOSTILE = "<script>alert('x')</script>&\"\0\x1b"

KPIS = KeyFigures(
    totm=12.5,
    toppi=0.25,
    ttmip=None,
    seconds=13.0,
    cpu_seconds=25.0,
    samples=100,
    samples_per_second=8.0,
    peak_memory=2**20,
    energy={"package-0": 123.456789},
    missing={"ttmip": "no model was exported", "gpu": "NVML reports no device"},
)


def some_history(epochs: int = 3) -> History:
    history = History()
    for epoch in range(epochs):
        for step in range(10 * epoch + 1, 10 * epoch + 11):
            history.add_step(step, epoch, {"loss": 1 / step, "learning_rate": 0.1, "samples": 8})
        figures = {"loss": 1 / (epoch + 3), "val_loss": 1 / (epoch + 2), "val_auc": 0.9}
        history.add_epoch(10 * epoch + 10, epoch, figures)
    return history


def some_report(**options: Any) -> TrainingReport:
    parts: dict[str, Any] = {
        "history": some_history(),
        "configuration": {"model": "resnet", "parameters": 11_000_000, "seed": 0},
        "kpis": KPIS,
        "confusion": Confusion(["normal", "pneumonia"], [[40, 2], [1, 57]]),
        "roc": {"pneumonia": ([0.0, 0.1, 1.0], [0.0, 0.95, 1.0])},
        **options,
    }
    return TrainingReport("Chest X-rays", **parts)


def parsed(report: TrainingReport) -> ET.Element:
    return ET.fromstring(page(report).removeprefix("<!DOCTYPE html>\n"))


def texts(root: ET.Element) -> list[str]:
    return ["".join(element.itertext()) for element in root.iter()]


def rows(root: ET.Element) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in root.iter(f"{XHTML}tr")]


def test_page_tells_what_the_json_tells(tmp_path: Path) -> None:
    report = some_report(stopped="val_loss has not improved")
    html, twin = write_report(report, tmp_path / "new" / "report.html")
    assert (html.name, twin.name) == ("report.html", "report.json")
    data = json.loads(twin.read_text(encoding="utf-8"))
    root = ET.fromstring(html.read_text(encoding="utf-8").removeprefix("<!DOCTYPE html>\n"))
    table = rows(root)
    head = table.index(["epoch", "step", "loss", "val_loss", "val_auc"])
    for row, epoch in zip(table[head + 1 :], data["history"]["epochs"], strict=False):
        assert [int(row[0]), int(row[1])] == [epoch["epoch"], epoch["step"]]
        for cell, name in zip(row[2:], table[head][2:], strict=True):
            assert float(cell) == pytest.approx(epoch["figures"][name], rel=1e-5)
    pairs = {row[0]: row[1] for row in table if len(row) == 2}
    assert pairs["time of training (totm)"] == f"{data['kpis']['totm']} s" == "12.5 s"
    assert pairs["energy, package-0"] == "123.457 J"
    assert data["kpis"]["energy"]["package-0"] == 123.456789
    assert pairs["parameters"] == str(data["configuration"]["parameters"])
    assert pairs["processor"] == data["machine"]["processor"]
    assert ["pneumonia", "1", "57"] in table
    assert data["confusion"] == {"labels": ["normal", "pneumonia"], "counts": [[40, 2], [1, 57]]}
    assert data["roc"] == {"pneumonia": [[0.0, 0.1, 1.0], [0.0, 0.95, 1.0]]}
    assert "Stopped early: val_loss has not improved." in texts(root)
    assert History.from_json(data["history"]) == report.history


def test_what_cannot_be_read_is_said() -> None:
    pairs = {row[0]: row[1] for row in rows(parsed(some_report())) if len(row) == 2}
    expected = "not readable: no model was exported"
    assert pairs["time to model in production (ttmip)"] == expected
    assert pairs["energy, gpu"] == "not readable: NVML reports no device"


def test_page_needs_nothing_else() -> None:
    text = page(some_report())
    assert not re.search(r"<(script|link|iframe|img|object|embed|base|meta http)", text)
    assert not re.search(r"\b(src|href|action|on\w+)=|url\(|@import", text)
    assert set(re.findall(r"https?://[^\"'\s]+", text)) == {
        "http://www.w3.org/1999/xhtml",
        "http://www.w3.org/2000/svg",
    }, "names of XML, which nobody fetches"


def test_everything_is_escaped() -> None:
    history = History()
    history.add_step(1, 0, {HOSTILE: 1.0})
    history.add_epoch(1, 0, {HOSTILE: 1.0, f"val_{HOSTILE}": 1.0})
    report = TrainingReport(
        HOSTILE,
        history,
        {HOSTILE: HOSTILE, "list": [HOSTILE], "nested": {HOSTILE: HOSTILE}},
        confusion=Confusion([HOSTILE], [[1]]),
        roc={HOSTILE: ([0.0], [1.0])},
        stopped=HOSTILE,
        machine={HOSTILE: HOSTILE},
    )
    root = parsed(report)
    shown = HOSTILE.replace("\0", "�").replace("\x1b", "�")
    assert sum(shown in text for text in texts(root)) > 8
    assert "script" not in {element.tag.rpartition("}")[2] for element in root.iter()}
    HTMLParser().feed(page(report))


@given(st.text(), st.text())
def test_any_text_is_well_formed(title: str, name: str) -> None:
    history = History()
    history.add_epoch(1, 0, {name: 1.0})
    parsed(TrainingReport(title, history, {name: title}, machine={}))


def test_empty_run_has_a_report() -> None:
    report = TrainingReport("nothing", History())
    assert "No epoch has been finished." in texts(parsed(report))
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["kpis"] is None


def test_diverged_run_has_a_report(tmp_path: Path) -> None:
    history = History()
    for epoch, value in enumerate([math.nan, math.inf, -math.inf]):
        history.add_epoch(epoch + 1, epoch, {"loss": value})
    html, twin = write_report(TrainingReport("diverged", history), tmp_path / "r")
    assert "nan" in html.read_text(encoding="utf-8")
    epochs = json.loads(twin.read_text(encoding="utf-8"))["history"]["epochs"]
    assert [row["figures"]["loss"] for row in epochs] == ["nan", "inf", "-inf"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/miller/patients/smith", "smith"),
        ("~/data/", "data"),
        ("C:\\scans\\a.dcm", "a.dcm"),
        (PurePosixPath("/data/run/a.onnx"), "a.onnx"),
        (PureWindowsPath("D:\\x\\y"), "y"),
        ("sgd/adam", "sgd/adam"),
        ([1, "/a/b"], "1 b"),
        ({"k": "/a/b"}, "k b"),
    ],
)
def test_of_paths_the_last_part_is_told(value: Any, shown: str) -> None:
    report = TrainingReport("t", History(), {"data": value}, machine={"m": value})
    assert rows(parsed(report)) == [["data", shown], ["m", shown]]
    if isinstance(value, str):
        assert report.to_json()["configuration"] == {"data": shown}


def test_machine_is_not_named() -> None:
    import getpass
    import platform

    text = json.dumps(describe_machine())
    assert platform.node() not in text or platform.node() in {"", "vm", "localhost"}
    assert getpass.getuser() not in text.split('"')


def test_what_has_no_place_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"report: array\(.*no place in it; expected numbers"):
        page(TrainingReport("t", History(), {"image": np.zeros(2)}))
    with pytest.raises(TrainingError, match="confusion of 2 labels: expected 2 rows of 2 counts"):
        Confusion(["a", "b"], [[1, 2]])


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match=r"r\.html: cannot write the report"):
        write_report(TrainingReport("t", History()), tmp_path / "file" / "r")


# --- charts ------------------------------------------------------------------------------------

numbers = st.floats(-1e12, 1e12) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 10**6), numbers), max_size=8), max_size=8),
    st.booleans(),
)
def test_every_point_lies_in_the_chart(lines: list[list[tuple[int, float]]], log: bool) -> None:
    curves = {f"c{k}": ([x for x, _ in c], [y for _, y in c]) for k, c in enumerate(lines)}
    root = ET.fromstring(line_chart("t", curves, across="x", logarithmic=log))
    drawn = [p for p in root.iter(f"{SVG}path") if p.find(f"{SVG}title") is not None]
    assert len(drawn) == len(lines)
    for path, line in zip(drawn, lines, strict=True):
        points = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.attrib["d"])
        assert len(points) == sum(math.isfinite(y) for _, y in line)
        for x, y in points:
            assert 64 <= float(x) <= 624
            assert 28 <= float(y) <= 240


def test_places_are_proportional() -> None:
    root = ET.fromstring(line_chart("t", {"a": ([0, 1, 2], [10, 20, 15])}, across="x"))
    (path,) = (p for p in root.iter(f"{SVG}path") if p.find(f"{SVG}title") is not None)
    assert path.attrib["d"] == "M64.0 240.0L344.0 28.0L624.0 134.0"


def test_lost_values_interrupt_the_line() -> None:
    curve = ([0, 1, 2, 3], [0.0, 1.0, math.nan, 1.0])
    root = ET.fromstring(line_chart("t", {"a": curve}, across="x"))
    (path,) = (p for p in root.iter(f"{SVG}path") if p.find(f"{SVG}title") is not None)
    assert re.sub(r"[\d. ]+", "", path.attrib["d"].replace("h.1", "h")) == "MLMh"


def test_long_curves_are_thinned_and_keep_their_peaks() -> None:
    ys = [0.5] * 10_000
    ys[1234], ys[8765], ys[5000] = 1.0, 0.0, math.nan
    svg = line_chart("t", {"a": (list(range(10_000)), ys)}, across="x")
    root = ET.fromstring(svg)
    (path,) = (p for p in root.iter(f"{SVG}path") if p.find(f"{SVG}title") is not None)
    points = re.findall(r"[ML]([\d.]+) ([\d.]+)", path.attrib["d"])
    assert len(points) <= 1002
    assert {"28.0", "240.0"} <= {y for _, y in points}
    assert path.attrib["d"].count("M") == 2


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_and_inside(low: float, width: float) -> None:
    high = low + width
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return
    found = ticks(low, high)
    assert 1 <= len(found) <= 7
    assert found == sorted(set(found))
    margin = 1e-6 * (high - low)
    assert all(low - margin <= tick <= high + margin for tick in found)
