# SPDX-License-Identifier: MIT
"""``ranvier train`` from end to end: files in, a model that onnxruntime runs alike out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ranvier.training.checkpoint import load_checkpoint, steps_in
from train_files import write_data, write_model, write_segmenter

WORDS = ("--batch", 4, "--validation", "none", "--threads", 1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("train") / "tiny.onnx")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("train") / "blobs.npz")


def last_checkpoint(run: Path) -> dict[str, Any]:
    *_, (_, path) = steps_in(run / "checkpoints")
    return dict(load_checkpoint(path).arrays)


def assert_same_arrays(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), name


def start(*words: object) -> subprocess.Popen[bytes]:
    """Start the program by itself, as it is killed or interrupted."""
    return subprocess.Popen(
        [sys.executable, "-m", "ranvier", *map(str, words)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_checkpoint(run: Path, process: subprocess.Popen[bytes], step: int) -> None:
    folder = run / "checkpoints"
    while process.poll() is None and max((s for s, _ in steps_in(folder)), default=0) < step:
        time.sleep(0.001)


def test_fine_tuned_model_computes_in_onnxruntime_what_the_run_scored(
    ranvier: Any, tiny: Path, data: Path, tmp_path: Path
) -> None:
    ort = pytest.importorskip("onnxruntime")
    run = tmp_path / "run"
    words: tuple[Any, ...] = (
        "--metric",
        "accuracy",
        "--metric",
        "auc",
        "--optimizer",
        "adam",
        "--rate",
        0.02,
    )
    out = tmp_path / "trained.onnx"
    done = ranvier(
        "train", tiny, data, *words, "--epochs", 12, "--batch", 4, "--validation", 0.25,
        "--run", run, "-o", out, "--threads", 1, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    found = done.data
    assert found["steps"] == 12 * 4
    losses = [row["loss"] for row in found["epochs"]]
    assert losses[-1] < 0.7 * losses[0]
    assert found["planned_memory"] > 0
    # The validation data once more, by onnxruntime: the share that the seed splits off.
    from ranvier.training.data import stratified_split

    arrays = np.load(data)
    _, rows = stratified_split(arrays["label"], (0.75, 0.25), 0)
    assert len(rows) == 6
    session = ort.InferenceSession(out)
    (scores,) = session.run(None, {"x": arrays["image"][rows]})
    labels = arrays["label"][rows]
    exponentials = np.exp(scores.astype(np.float64))
    chosen = exponentials[np.arange(6), labels] / exponentials.sum(1)
    assert -np.log(chosen).mean() == pytest.approx(found["validation"]["loss"], rel=1e-4)
    assert (scores.argmax(1) == labels).mean() == found["validation"]["accuracy"]
    # The folder has all of the run.
    assert {p.name for p in run.iterdir()} == {
        "checkpoints", "epochs.csv", "steps.csv", "log.jsonl", "tensorboard", "report.html",
        "report.json", "settings.json",
    }  # fmt: skip
    page = json.loads((run / "report.json").read_text())
    assert np.sum(page["confusion"]["counts"]) == 6
    assert len(page["history"]["epochs"]) == 12


def test_zoo_model_has_the_sizes_of_the_data(ranvier: Any, tmp_path: Path) -> None:
    count = 12
    image = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), np.uint8)
    data = write_data(tmp_path / "d.npz", count, image=image, label=np.arange(count)[:, None] % 3)
    done = ranvier(
        "train", "zoo:resnet8", data, *WORDS, "--width", 4, "--epochs", 1,
        "--augment", "flip", "--augment", "noise:deviation=[0,0.05]", "-o", tmp_path / "m.onnx",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "resnet8 of channels 3, size 16, width 4, classes 3\n" in done.err
    assert "channels of 'image' moved from the last axis to the second\n" in done.err
    assert "'image' scaled from 0…255 to 0…1\n" in done.err
    assert "planned memory: " in done.err
    assert "epoch 1/1  loss " in done.err
    assert "Trained in " in done.out
    from ranvier.frontend import load

    (value,) = load(tmp_path / "m.onnx").graph.inputs
    assert str(value.type) == "float32[1, 3, 16, 16]"


def test_segmentation_of_image_files(ranvier: Any, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for k in range(6):
        mask = np.zeros((16, 16), np.uint8)
        mask[: 4 + k] = 255
        pillow.fromarray(mask).save(tmp_path / "masks" / f"{k}.png")
        noisy = np.clip(mask // 2 + rng.integers(0, 60, (16, 16)), 0, 255).astype(np.uint8)
        pillow.fromarray(noisy).save(tmp_path / "images" / f"{k}.png")
    model = write_segmenter(tmp_path / "segmenter.onnx")
    done = ranvier(
        "train", model, tmp_path / "images", "--masks", tmp_path / "masks", "--batch", 2,
        "--epochs", 2, "--validation", 0.34, "--loss", "dice_cross_entropy", "--metric", "dice",
        "--augment", "flip", "-o", tmp_path / "m.onnx", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert 0 < done.data["validation"]["loss"] < 3
    assert any(name.startswith("dice") for name in done.data["validation"])


def test_folder_of_classes(ranvier: Any, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / "train" / name).mkdir(parents=True)
        for k in range(4):
            image = np.full((9, 11), level + k, np.uint8)
            pillow.fromarray(image).save(tmp_path / "train" / name / f"{k}.png")
    words: tuple[Any, ...] = (
        "--size",
        16,
        "--channels",
        1,
        "--width",
        4,
        "--epochs",
        1,
        "--batch",
        4,
    )
    words += ("--validation", tmp_path / "train", "-o", tmp_path / "m.onnx", "--json")
    done = ranvier("train", "zoo:resnet8", tmp_path / "train", *words)
    assert done.code == 0, done.err
    assert "classes 2" in done.data["notes"][0]
    assert set(done.data["validation"]) == {"loss", "accuracy"}
    for path in (tmp_path / "train" / "light").iterdir():
        path.unlink()
    done = ranvier("train", "zoo:resnet8", tmp_path / "train", *words)
    assert (done.code, "has no images" in done.err) == (1, True)


def test_killed_and_resumed_run_ends_as_a_straight_one(
    ranvier: Any, tiny: Path, data: Path, tmp_path: Path
) -> None:
    words: tuple[Any, ...] = ("train", tiny, data, *WORDS, "--epochs", 5, "--checkpoint-every", 2)
    words += ("--schedule", "cosine", "--augment", "flip")
    straight = tmp_path / "straight"
    assert ranvier(*words, "--run", straight).code == 0
    killed = tmp_path / "killed"
    process = start(*words, "--run", killed)
    wait_for_checkpoint(killed, process, 6)
    process.kill()
    process.communicate(timeout=120)
    for _ in range(2):  # the second time there is nothing left to do
        done = ranvier(*words, "--run", killed, "--resume")
        assert done.code == 0, done.err
        assert "going on from " in done.err
    assert_same_arrays(last_checkpoint(killed), last_checkpoint(straight))
    models = [(run / "model.onnx").read_bytes() for run in (killed, straight)]
    assert models[0] == models[1]


def test_interrupted_run_keeps_a_checkpoint_and_says_how_to_go_on(
    ranvier: Any, tiny: Path, data: Path, tmp_path: Path
) -> None:
    words: tuple[Any, ...] = ("train", tiny, data, *WORDS)
    run = tmp_path / "a run"
    process = start(*words, "--epochs", 100_000, "--run", run)
    wait_for_checkpoint(run, process, 12)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    text = errors.decode()
    assert process.returncode == 130, text
    assert "interrupted: stopping after this step; Ctrl-C again stops at once\n" in text
    last = text.splitlines()[-1]
    assert last.startswith("error: interrupted in epoch ")
    assert "is kept. Go on: ranvier train " in last
    assert last.endswith(f"--run '{run}' --resume")
    *_, (step, path) = steps_in(run / "checkpoints")
    assert f"after step {step}; {path} is kept" in last
    epoch = load_checkpoint(path).meta["epoch"]
    done = ranvier(*words, "--epochs", epoch + 1, "--run", run, "--resume", "--json")
    assert done.code == 0, done.err
    assert done.data["steps"] == (epoch + 1) * 6


def test_run_without_folder_says_that_nothing_is_kept(
    tiny: Path, data: Path, tmp_path: Path, cache_folder: Path
) -> None:
    words: tuple[Any, ...] = (
        "train",
        tiny,
        data,
        *WORDS,
        "--epochs",
        100_000,
        "-o",
        tmp_path / "m.onnx",
    )
    process = start(*words)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"epoch 1/"):
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.decode().endswith("nothing is kept without --run FOLDER\n")


def test_weights_are_taken_over_and_frozen(
    ranvier: Any, tiny: Path, data: Path, tmp_path: Path
) -> None:
    words: tuple[Any, ...] = ("train", tiny, data, *WORDS, "--epochs", 1)
    first, second = tmp_path / "first", tmp_path / "second"
    assert ranvier(*words, "--run", first, "--rate", 0.1).code == 0
    done = ranvier(*words, "--run", second, "--weights", first, "--freeze", "conv*",
                   "--freeze", "norm*")  # fmt: skip
    assert done.code == 0, done.err
    assert "7 of 7 parameters taken from " in done.err
    before, after = last_checkpoint(first), last_checkpoint(second)
    changed = {
        name.removeprefix("parameters/")
        for name, array in after.items()
        if name.startswith("parameters/") and array.tobytes() != before[name].tobytes()
    }
    assert changed == {"fc.weight", "fc.bias"}


def test_early_stopping_brings_back_the_best_epoch(
    ranvier: Any, tiny: Path, data: Path, tmp_path: Path
) -> None:
    done = ranvier(
        "train", tiny, data, "--batch", 4, "--rate", 0.3, "--epochs", 60, "--validation", 0.25,
        "--early-stopping", 2, "--average", 0.5, "--clip-norm", 1, "--accumulate", 2,
        "--memory", "64KiB", "-o", tmp_path / "m.onnx", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    losses = [row["val_loss"] for row in done.data["epochs"]]
    assert len(losses) < 60
    assert "has not improved for 2 epochs" in done.data["stopped"]
    assert done.data["validation"]["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_models_for_one_size_of_batches_are_trained_at_it(
    ranvier: Any, data: Path, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "fixed.onnx", batch=2)
    words: tuple[Any, ...] = (
        "train",
        model,
        data,
        "--epochs",
        1,
        "-o",
        tmp_path / "m.onnx",
        "--accumulate",
        3,
    )
    done = ranvier(*words, "--validation", 0.25, "--json")
    assert done.code == 0, done.err
    assert done.data["steps"] == 3
    done = ranvier(*words, "--validation", 0.25, "--memory", 100)
    assert "of intermediate results (--memory 100 is less than it can do with), " in done.err
    done = ranvier(*words, "--batch", 8)
    assert "--batch 8: model 'tiny' is for batches of 2; --accumulate averages" in done.err
