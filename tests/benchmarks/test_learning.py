# SPDX-License-Identifier: MIT
"""Tasks are learned once per seed, and what misses a goal is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ranvier.benchmarks import report_html, report_json
from ranvier.benchmarks.engines import Unavailable
from ranvier.benchmarks.learning import learned
from ranvier.benchmarks.learning_tasks import (
    MEMBRANE_UNET,
    TASKS,
    TILE,
    data_folder,
    task_named,
    tiles,
)
from ranvier.benchmarks.results import LearningResult, LearningRun, Report
from ranvier.benchmarks.tables import learning_row
from ranvier.errors import InputError
from ranvier.ir import interpret


def told(**figures: float) -> dict[str, Any]:
    """What a process tells after it has learned."""
    return {
        "figures": figures,
        "losses": [1.0, 0.5],
        "compile_seconds": 1.0,
        "seconds": 2.0,
        "peak": 1 << 20,
    }


def test_goals_are_those_of_means() -> None:
    values = iter([0.94, 0.97, 0.95])
    (result,) = learned(
        "pneumonia", range(3), lambda engine, name, seed: told(accuracy=next(values), auc=0.98)
    )
    assert [run.seed for run in result.runs] == [0, 1, 2]
    assert result.mean("accuracy") == pytest.approx(0.9533, abs=1e-4)
    assert result.deviation("accuracy") == pytest.approx(0.0153, abs=1e-4)
    assert result.missed == ["auc 0.9800 is below 0.9850"]


@pytest.mark.parametrize(("own", "missed"), [(0.8, []), (0.79, ["dice 0.7900 is below 0.8000"])])
def test_engines_take_turns_and_the_peer_is_the_goal(own: float, missed: list[str]) -> None:
    asked = []

    def ask(engine: str, name: str, seed: int) -> dict[str, Any]:
        asked.append((engine, seed))
        return told(dice=own if engine == "ranvier" else 0.8 + 0.02 * (seed - 1))

    ours, theirs = learned("membranes", range(3), ask)
    assert asked == [(engine, seed) for seed in range(3) for engine in ("ranvier", "torch")]
    assert ours.missed == missed
    assert theirs.missed == ()


def test_absent_peer_is_no_goal() -> None:
    def ask(engine: str, name: str, seed: int) -> dict[str, Any]:
        if engine == "torch":
            raise Unavailable("torch is not installed")
        return told(dice=0.5)

    ours, theirs = learned("membranes", range(2), ask)
    assert ours.missed == []
    assert (theirs.note, theirs.runs) == ("torch is not installed", [])


def test_result_is_shown_and_read_back() -> None:
    runs = [LearningRun(0, {"dice": 0.8}, [0.5], 1.0, 60.0, 1 << 20)]
    result = LearningResult("membranes", "ranvier", "", runs, ["dice <0.9"])
    assert learning_row(result)[2:4] == (1, "dice 0.8000 ± 0.0000")
    report = Report(
        "now", {}, learning=[result, LearningResult("blood", "ranvier", "no images", [])]
    )
    assert report_json.from_json(report_json.to_json(report)).learning == report.learning
    page = report_html.page(report)
    assert "dice &lt;0.9" in page
    assert "no images" in page


def test_tiles_hold_every_pixel_once_per_direction() -> None:
    image = np.arange(2 * TILE * 3 * TILE, dtype=np.float32).reshape(1, 2 * TILE, 3 * TILE)
    data = tiles([{"image": image, "mask": -image}], turns=2)
    assert len(data) == 2 * 6
    np.testing.assert_array_equal(data[1]["image"], image[:, :TILE, TILE : 2 * TILE])
    np.testing.assert_array_equal(data[7]["image"][0], np.rot90(data[1]["image"][0]))
    np.testing.assert_array_equal(data[7]["mask"], -data[7]["image"])


def test_unknown_task_and_absent_images_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    with pytest.raises(InputError, match="no task 'mnist'; there are: pneumonia, blood"):
        task_named("mnist")
    monkeypatch.setenv("RANVIER_CORPUS", str(tmp_path))
    with pytest.raises(Unavailable, match=r"no images at .*blood_cells; set RANVIER_CORPUS"):
        data_folder("blood_cells")


def test_torch_has_the_same_unet() -> None:
    torch = pytest.importorskip("torch")
    from ranvier.benchmarks.torch_networks import UNet, load_weights

    network = TASKS["membranes"].network(1)
    weights = network.initial(0)
    module = UNet(**MEMBRANE_UNET)
    load_weights(module, weights)
    image = np.random.default_rng(0).standard_normal((1, 1, TILE, TILE)).astype(np.float32)
    (found,) = interpret(network.graph(weights=weights), [image])
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(image)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())
