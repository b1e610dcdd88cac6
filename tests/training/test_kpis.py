# SPDX-License-Identifier: MIT
"""Key figures: times add up, counters wrap around, and what cannot be read is never a zero."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranvier.errors import TrainingError
from ranvier.training import energy as energy_module
from ranvier.training.energy import Energy, UnreadableError, nvml_counters, rapl_counters
from ranvier.training.kpis import KeyFigures, Kpis, peak_memory


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Given:
    """A counter that shows given numbers, and fails at ``None``."""

    def __init__(self, values: list[float | None], span: float = 0.0, name: str = "c") -> None:
        self.name, self.span = name, span
        self._values = iter(values)

    def read(self) -> float:
        value = next(self._values)
        if value is None:
            raise UnreadableError("gone")
        return value


def no_energy() -> Energy:
    return Energy([], {"package": "none here"})


def test_times_are_those_of_the_blocks() -> None:
    clock = Clock()

    def batches() -> Iterator[int]:
        for size in (3, 4):
            clock.sleep(0.5)
            yield size
        clock.sleep(0.25)

    with Kpis(no_energy(), clock) as kpis:
        clock.sleep(1)
        with kpis.preprocessing():
            clock.sleep(2)
        with kpis.training():
            for size in kpis.waiting(batches()):
                clock.sleep(4)
                kpis.add_samples(size)
        clock.sleep(16)
        kpis.exported()
        clock.sleep(32)
    found = kpis.result()
    assert found.totm == 9.25
    assert found.toppi == 3.25
    assert found.ttmip == 28.25
    assert found.seconds == 60.25
    assert found.samples == 7
    assert found.samples_per_second == 7 / 9.25


def test_block_that_fails_is_counted() -> None:
    clock = Clock()
    kpis = Kpis(no_energy(), clock)

    def fail() -> None:
        with kpis, kpis.training():
            clock.sleep(3)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert kpis.result().totm == 3


def test_what_is_not_there_is_none_with_the_reason() -> None:
    with Kpis(no_energy()) as kpis:
        pass
    found = kpis.result()
    assert found.ttmip is None
    assert found.samples_per_second is None
    assert found.energy == {}
    assert found.missing == {
        "package": "none here",
        "ttmip": "no model was exported",
        "samples_per_second": "nothing was trained on",
    }
    assert json.loads(json.dumps(found.to_json())) == found.to_json()
    assert KeyFigures(**found.to_json()) == found


def test_result_before_the_end_is_an_error() -> None:
    with pytest.raises(TrainingError, match="when the block `with Kpis\\(\\)` has ended"):
        Kpis().result()


def test_processor_time_is_of_all_threads() -> None:
    with Kpis(no_energy()) as kpis:
        begin = time.process_time()
        while time.process_time() < begin + 0.05:
            pass
    assert kpis.result().cpu_seconds >= 0.05


def test_sampler_ends_with_the_block() -> None:
    with Kpis(no_energy()) as kpis:
        sampler = kpis._sampler
        assert sampler.is_alive()
    assert not sampler.is_alive()


# --- memory ------------------------------------------------------------------------------------


def test_peak_memory_is_this_process_s_own(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from ranvier.training.kpis import peak_memory\n"
        "before = peak_memory(); np.ones(2**23); print(before, peak_memory())"
    )
    big = np.ones(2**26)  # what getrusage would report of the child, which begins as a copy
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(int, done.stdout.split())
    assert 2**26 * 0.9 <= after - before <= 2**26 * 1.5
    assert after < big.nbytes


def test_peak_memory_without_proc(tmp_path: Path) -> None:
    found = peak_memory(tmp_path / "none")
    assert found is not None
    assert found > 2**20


# --- energy ------------------------------------------------------------------------------------


def test_energy_adds_up_across_wrap_arounds() -> None:
    energy = Energy([Given([90, 95, 3, 3, 50], span=100)], {})
    for _ in range(4):
        energy.sample()
    assert energy.joules == {"c": 5 + 8 + 0 + 47}


@given(st.lists(st.integers(0, 999), max_size=20), st.integers(0, 999))
def test_energy_is_exact_if_sampled_often_enough(used: list[int], begin: int) -> None:
    totals = np.cumsum([begin, *used])
    energy = Energy([Given([float(t % 1000) for t in totals], span=1000)], {})
    for _ in used:
        energy.sample()
    assert energy.joules["c"] == sum(used)


def test_counter_that_fails_later_leaves_no_number() -> None:
    energy = Energy([Given([1, 2, None]), Given([1, 2, 3], name="d")], {})
    energy.sample()
    energy.sample()
    assert energy.joules == {"d": 2}
    assert energy.missing == {"c": "gone"}


def zone(folder: Path, name: str, kind: str, energy: str = "5000000") -> Path:
    path = folder / name
    path.mkdir(parents=True)
    (path / "name").write_text(f"{kind}\n")
    (path / "energy_uj").write_text(f"{energy}\n")
    (path / "max_energy_range_uj").write_text("262143328850\n")
    return path


def test_zones_that_count_the_same_energy_are_left_out(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    zone(tmp_path, "intel-rapl:0:0", "core")
    zone(tmp_path, "intel-rapl:0:1", "uncore")
    zone(tmp_path, "intel-rapl:0:2", "dram")
    zone(tmp_path, "intel-rapl:1", "package-1")
    zone(tmp_path, "intel-rapl:2", "psys")
    zone(tmp_path, "intel-rapl-mmio:0", "package-0")
    (tmp_path / "intel-rapl").mkdir()
    found, missing = rapl_counters(tmp_path)
    assert [counter.name for counter in found] == ["package-0", "dram-0", "package-1"]
    assert {counter.span for counter in found} == {262143.32885}
    assert [counter.read() for counter in found] == [5.0, 5.0, 5.0]
    assert missing == {}


def test_zone_without_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0")
    read_text = Path.read_text

    def denied(self: Path, *args: Any, **options: Any) -> str:
        # As for everybody but root since CVE-2020-8694; tests may run as root.
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read_text(self, *args, **options)

    monkeypatch.setattr(Path, "read_text", denied)
    found, missing = rapl_counters(tmp_path)
    assert found == []
    assert missing == {
        "package-0": f"permission denied for {tmp_path}/intel-rapl:0/energy_uj; root may read it, "
        "or whom root lets: chmod a+r"
    }


@pytest.mark.parametrize("content", ["", "many", "1.5e3", "\xff"])
def test_zone_with_something_else_is_named(content: str, tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", content)
    found, missing = rapl_counters(tmp_path)
    assert found == []
    assert "cannot read" in missing["package-0"]


@pytest.mark.parametrize("folder", ["", "none"])
def test_machine_without_counters_says_so(folder: str, tmp_path: Path) -> None:
    found, missing = rapl_counters(tmp_path / folder)
    assert found == []
    assert "this system has no energy counter of a processor" in missing["package"]


class NVMLError(Exception):
    """Stands for the library's own."""


def fake_nvml(monkeypatch: pytest.MonkeyPatch, devices: int, energy: Any) -> None:
    def consumed(handle: int) -> int:
        if isinstance(energy, Exception):
            raise energy
        return int(energy) + handle

    module = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: devices,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=consumed,
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)


def test_gpus_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, 2, 4000)
    found, missing = nvml_counters()
    assert [(c.name, c.read()) for c in found] == [("gpu-0", 4.0), ("gpu-1", 4.001)]
    assert missing == {}


def test_gpus_that_do_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml(monkeypatch, 1, NVMLError("Not Supported"))
    assert nvml_counters() == ([], {"gpu-0": "NVML: Not Supported"})
    fake_nvml(monkeypatch, 0, 0)
    assert nvml_counters() == ([], {"gpu": "NVML reports no device"})
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is not installed" in nvml_counters()[1]["gpu"]


def test_this_machine_has_a_number_or_a_reason_for_both() -> None:
    energy = Energy.of_this_machine()
    names = {name.partition("-")[0] for name in [*energy.joules, *energy.missing]}
    assert {"package", "gpu"} <= names
    assert Path("/sys/class/powercap") == energy_module.POWERCAP
