# SPDX-License-Identifier: MIT
"""Reports survive their JSON file, and their page is well formed."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ranvier.benchmarks import report_html, report_json
from ranvier.benchmarks.results import (
    CaseResult,
    EngineResult,
    MemoryResult,
    Peaks,
    Report,
    Roofline,
    StartupResult,
    StepTime,
)
from ranvier.errors import InputError

HTML = "{http://www.w3.org/1999/xhtml}"


def case(name: str, threads: int) -> CaseResult:
    """A comparison with an engine in every state."""
    ours = [[1.0, 1.1], [1.2], None]
    theirs = [[2.0], [2.5], [2.1, 2.2]]
    engines = [
        EngineResult(
            "ranvier", "timed", "", 1e-6, ours, ours, {"prepare_seconds": 1.0}, {"r": "1"}
        ),
        EngineResult("onnxruntime", "timed", "", 2e-6, theirs, theirs),
        EngineResult("openvino", "disagrees", "error 1 & more, allowed <1", 0.5),
        EngineResult("torch", "skipped", "torch is not installed"),
        EngineResult("torch.compile", "failed", "out of <memory>"),
    ]
    return CaseResult(name, threads, [0, 1][:threads], "reference", [0.5, 0.7], engines)


@pytest.fixture
def report() -> Report:
    steps = [StepTime("conv & relu", 2_000_000, 4000, 1e-4), StepTime("reshape", 0, 0, 0.0)]
    return Report(
        made="2026-01-02T03:04:05+00:00",
        machine={"processor": "a <processor>", "flags": ["avx2"], "caches": {"L1": 32768}},
        comparisons=[case("a & b", 1), case("a & b", 2), case("c", 1)],
        overhead=[case("tiny", 1)],
        memory=[
            MemoryResult("c", "ranvier, artifact", held=1 << 20, run_peak=1 << 21, arena=4096),
            MemoryResult("c", "openvino", "not installed"),
        ],
        startup=[
            StartupResult("c", "ranvier, cold cache", load=1.0, prepare=2.0),
            StartupResult("c", "onnxruntime", load=0.1, prepare=0.2, first_run=0.01),
        ],
        peaks=Peaks(4e10, {"L1": 7e10, "memory": 1e10}, 1e10),
        rooflines=[Roofline("c", steps), Roofline("empty", [])],
        left_out=["d: no time left"],
    )


def test_file_is_read_back_equal(report: Report, tmp_path: Path) -> None:
    report_json.write(report, tmp_path / "results.json")
    found = report_json.read(tmp_path / "results.json")
    # JSON knows lists, not tuples.
    plain = json.loads(json.dumps(report_json.to_json(report)))
    assert report_json.to_json(found) == plain
    assert found.comparisons[0].engine("ranvier") == report.comparisons[0].engine("ranvier")
    assert (found.peaks, found.memory, found.startup) == (
        report.peaks,
        report.memory,
        report.startup,
    )
    assert [f.name for f in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no report"),
        ("[]", "is no report"),
        ("{}", r"is no report of benchmarks \('format'\)"),
        ('{"format": 99}', "format 99, expected 1"),
        ('{"format": 1, "made": ""}', "is no report"),
    ],
)
def test_other_files_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        report_json.read(tmp_path / "results.json")


def test_failed_writing_leaves_the_old_file(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    report_json.write(report, path)
    before = path.read_bytes()
    broken = Report("now", {"number": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        report_json.write(broken, path)
    assert path.read_bytes() == before


def test_page_is_well_formed(report: Report, tmp_path: Path) -> None:
    report_html.write(report, tmp_path / "results.html")
    root = ET.parse(tmp_path / "results.html").getroot()
    assert root.tag == f"{HTML}html"
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    # Speed-ups on one and two threads, startup, memory, one roofline.
    assert len(list(root.iter("{http://www.w3.org/2000/svg}svg"))) == 5
    cells = ["".join(cell.itertext()) for cell in root.iter(f"{HTML}td")]
    for text in ("conv & relu", "error 1 & more, allowed <1", "torch is not installed", "4 KiB"):
        assert text in cells


def test_references_within_plots_resolve(report: Report) -> None:
    page = report_html.page(report)
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', page))
    assert used
    assert used <= ids


def test_page_needs_nothing_else(report: Report) -> None:
    page = report_html.page(report)
    assert not re.search(r"<(script|link|img|iframe)\b", page)
    loaded = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
    assert loaded == []
    assert "@import" not in page


def test_empty_report_has_a_page() -> None:
    page = report_html.page(Report("now", {}))
    ET.fromstring(page.partition("\n")[2])
    assert json.loads(json.dumps(report_json.to_json(Report("now", {}))))["comparisons"] == []
