# SPDX-License-Identifier: MIT
"""``ranvier train`` with wrong words, data and models: one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from train_files import COUNT, save, write_data, write_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("train") / "tiny.onnx")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("train") / "blobs.npz")


def assert_one_line(done: Any, code: int, message: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    line = done.err.splitlines()[-1]
    assert line.startswith("error: ")
    assert message in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say where to: -o OUT.onnx, or --run FOLDER for all of a run"),
        (("-o", "nowhere/m"), "-o nowhere/m: must be a file in a folder that is there"),
        (("-o", "."), "-o .: must be a file in a folder that is there"),
        (("-o", "m", "--resume"), "--resume and --checkpoint-every need --run FOLDER"),
        (("-o", "m", "--partial"), "--partial is for --weights CHECKPOINT"),
        (("-o", "m", "--levels", "0,x"), "--levels 0,x must look like 0,255"),
        (("-o", "m", "--input", "x"), "'x' must look like NAME=FIELD, such as x=image"),
        (("-o", "m", "--loss", "focal:gamma"), "'focal:gamma' must look like focal:gamma=2"),
        (("-o", "m", "--memory", "much"), "'much' must be full, mid, low or bytes such as 512MiB"),
        (("-o", "m", "--memory", "0"), "'0' must be full, mid, low or bytes such as 512MiB"),
        (("-o", "m", "--epochs", 0), "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage(
    ranvier: Any, tiny: Path, data: Path, words: tuple[Any, ...], message: str
) -> None:
    assert_one_line(ranvier("train", tiny, data, *words), 2, message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--loss", "frob"), "there is no loss 'frob'; there are: binary_cross_entropy, "),
        (("--loss", "focal:alfa=1"), "loss 'focal' has no option 'alfa'; it has: "),
        (("--loss", "focal:gamma=x"), "loss 'focal': gamma='x' must be a number"),
        (("--optimizer", "frob"), "there is no optimizer 'frob'; there are: adadelta, "),
        (("--optimizer", "sgd:momentum=2"), "SGD: momentum=2 must be a number from 0 to below 1"),
        (("--rate", -1), "AdamW: learning_rate=-1.0 must be a finite number of at least 0"),
        (("--schedule", "frob"), "there is no schedule 'frob'; there are: constant, "),
        (("--schedule", "exponential"), "schedule 'exponential' needs its option 'gamma'"),
        (("--metric", "frob"), "there is no metric 'frob'; there are: accuracy, "),
        (("--metric", "top_k:k=x"), "metric 'top_k': k='x' must be a number"),
        (("--augment", "frob"), "there is no augmentation 'frob'; there are: affine, "),
        (("--augment", "noise:deviation=1"), "augmentation 'noise' cannot take deviation=1"),
        (("--freeze", "frob*"), "--freeze frob* matches no parameter; there are "),
        (("--clip-norm", 0), "ClipNorm: limit=0.0 must be a finite number of at least"),
        (("--average", 2), "Average: decay=2.0 must be a number from 0 to below 1"),
        (("--batch", 100), "samples do not fill a batch of 100; take a smaller --batch"),
        (("--validation", 2), "--validation 2: a share must be above 0 and below 1, or 'none'"),
        (("--validation", 0.001), "0.001 of 24 samples cannot be split off"),
        (("--validation", "nowhere.npz"), "'nowhere.npz' does not exist; expected an .npz file"),
        (("--input", "frob=image"), "--input frob=…: the model's inputs are x"),
        (("--input", "x=frob"), "has no field 'frob' for the model's input 'x'; it has: image, "),
        (("--target", "frob"), "has no field 'frob' besides the model's inputs; there are: label"),
        (("--weights", "nowhere"), "nowhere: cannot read the checkpoint"),
        (("--classes", 3), "--classes is for models of the zoo"),
        (("--freeze", "*"), "every parameter is frozen by ['*']; there is nothing to train"),
    ],
)
def test_options_that_do_not_fit(
    ranvier: Any, tiny: Path, data: Path, tmp_path: Path, words: tuple[Any, ...], message: str
) -> None:
    out = tmp_path / "m.onnx"
    assert_one_line(ranvier("train", tiny, data, "-o", out, *words), 1, message)
    assert not out.exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"label": np.arange(COUNT)}, "field 'label': labels: sample 2 holds 2; expected 0 to 1"),
        ({"label": np.full(COUNT, -1)}, "field 'label': labels: sample 0 holds -1; expected 0 to"),
        ({"label": np.ones(COUNT, int)}, "all 24 samples are of class 1; learning to tell classes"),
        ({"label": np.array(["a"] * COUNT)}, "field 'label' holds <U1; expected numbers"),
        ({"label": np.zeros(3, int)}, "all fields need one row per sample, found lengths"),
        ({"label": None}, "which field is to be predicted? Name it by --target FIELD"),
        ({"image": np.zeros((COUNT, 1, 5, 6))}, "samples of 'image' are [1, 5, 6], the model's"),
        ({"image": np.zeros((COUNT, 36))}, "samples of 'image' are [36], the model's input 'x'"),
        (
            {"image": np.zeros((COUNT, 1, 6, 6), complex)},
            "field 'image' holds complex128, input 'x' takes float32",
        ),
        ({"image": np.zeros((0, 1, 6, 6)), "label": np.zeros(0)}, "has no samples"),
        ({"label": np.full((COUNT, 2, 2), 1)}, "loss 'cross_entropy': outputs "),
    ],
)
def test_data_that_does_not_fit(
    ranvier: Any, tiny: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    data = write_data(tmp_path / "data.npz", **changed)
    done = ranvier("train", tiny, data, "-o", tmp_path / "m.onnx")
    assert_one_line(done, 1, message)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_data_that_is_not_finite(ranvier: Any, tiny: Path, tmp_path: Path, value: float) -> None:
    image = np.zeros((COUNT, 1, 6, 6), np.float32)
    image[:, 0, 3, 3] = value
    data = write_data(tmp_path / "data.npz", image=image)
    done = ranvier("train", tiny, data, "-o", tmp_path / "m.onnx")
    assert_one_line(done, 1, "step 0 (epoch 0): the loss is nan; the data or parameter 'x': ")
    done = ranvier("train", tiny, data, "-o", tmp_path / "m.onnx", "--no-find-nan")
    assert_one_line(done, 1, "step 0 (epoch 0): the loss is nan; --find-nan finds where it came")


def test_files_that_are_damaged_or_absent(
    ranvier: Any, tiny: Path, data: Path, tmp_path: Path
) -> None:
    out = ("-o", tmp_path / "m.onnx")
    broken = tmp_path / "broken.npz"
    broken.write_bytes(data.read_bytes()[:-200])
    assert_one_line(ranvier("train", tiny, broken, *out), 1, f"'{broken}' is damaged")
    assert_one_line(ranvier("train", tiny, "none.npz", *out), 1, "'none.npz' does not exist")
    assert_one_line(
        ranvier("train", "none.onnx", data, *out), 1, "'none.onnx' is no file; expected"
    )
    model = tmp_path / "broken.onnx"
    model.write_bytes(tiny.read_bytes()[:-100])
    assert_one_line(ranvier("train", model, data, *out), 1, "broken.onnx")
    assert_one_line(ranvier("train", "zoo:frob", data, *out), 1, "no model 'frob' in the zoo")
    assert_one_line(
        ranvier("train", tiny, "sample:frob", *out), 1, "there is only sample:pneumonia"
    )
    (tmp_path / "empty").mkdir()
    assert_one_line(ranvier("train", tiny, tmp_path / "empty", *out), 1, "has no folders; expected")


def test_parts_of_a_file(ranvier: Any, tiny: Path, tmp_path: Path) -> None:
    parts: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("val", 4)):
        parts[f"{part}_images"] = rng.integers(0, 255, (count, 6, 6), np.uint8)
        parts[f"{part}_labels"] = np.arange(count)[:, None] % 2
    data = write_data(tmp_path / "data.npz", image=None, label=None, **parts)
    words = ("train", tiny, "-o", tmp_path / "m.onnx", "--epochs", 1, "--batch", 4)
    assert_one_line(
        ranvier(*words, data), 1, f"Of parts such as train_… and val_… name one: {data}"
    )
    message = "has no fields that begin with 'test_': train_images, "
    assert_one_line(ranvier(*words, f"{data}:test"), 1, message)
    done = ranvier(*words, f"{data}:train", "--validation", f"{data}:val")
    assert done.code == 0, done.err
    assert "12 samples to learn from, 4 to check with; " in done.err


def test_zoo_needs_classes_without_gaps(ranvier: Any, tmp_path: Path) -> None:
    data = write_data(tmp_path / "data.npz", label=np.arange(COUNT) % 2 * 255)
    words = ("train", "zoo:resnet8", data, "-o", tmp_path / "m.onnx")
    assert_one_line(ranvier(*words), 1, "field 'label' holds 0, 255; number the classes 0, 1, …")
    message = "labels: sample 1 holds 255; expected 0 to 1"
    assert_one_line(ranvier(*words, "--classes", 2), 1, message)


def test_models_that_cannot_be_trained(ranvier: Any, data: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "m.onnx")
    node = helper.make_node("Flatten", ["x"], ["y"], name="flat")
    values = {"x": ["N", 1, 6, 6], "y": ["N", 36]}
    bare = save(tmp_path / "bare.onnx", [node], values, {})
    assert_one_line(ranvier("train", bare, data, *out), 1, "has no weights that could be trained")


def test_op_without_a_gradient_is_named(ranvier: Any, data: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rois = np.stack([np.arange(4), *np.zeros((2, 4)), *np.full((2, 4), 5.0)], 1)
    weights = {"w": rng.standard_normal((2, 1, 3, 3)), "rois": rois}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("MaxRoiPool", ["a", "rois"], ["b"], pooled_shape=[1, 1], name="regions"),
        helper.make_node("Flatten", ["b"], ["y"], name="flat"),
    ]
    model = save(tmp_path / "regions.onnx", nodes, {"x": [4, 1, 6, 6], "y": [4, 2]}, weights)
    words = ("train", model, data, "-o", tmp_path / "m.onnx")
    message = "2 samples to check with do not fill a batch of 4, which model 'tiny' is for; give"
    assert_one_line(ranvier(*words), 1, message)
    done = ranvier(*words, "--validation", "none")
    assert_one_line(done, 1, "max_roi_pool: has no gradient")
    assert "regions" in done.err.splitlines()[-1]


def test_folder_of_another_run(ranvier: Any, tiny: Path, data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("train", tiny, data, "--epochs", 1, "--batch", 4, "--validation", "none")
    assert ranvier(*words, "--run", run).code == 0
    message = "has a run already (step-000000006.safetensors); go on with it by --resume"
    assert_one_line(ranvier(*words, "--run", run), 1, message)
    resumed = (*words, "--run", run, "--resume", "--epochs", 2)
    message = "the run was begun with batch 4, not 8; resume it with the same"
    assert_one_line(ranvier(*resumed, "--batch", 8), 1, message)
    message = "the run was begun with optimizer AdamW("
    assert_one_line(ranvier(*resumed, "--optimizer", "sgd"), 1, message)
    # Another model, with data that it takes.
    zoo: tuple[Any, ...] = ("train", "zoo:resnet8", data, *words[3:], "--width", 4)
    zoo += ("--run", run, "--resume")
    assert_one_line(ranvier(*zoo), 1, "is of another model: ")
    zoo = ("train", "zoo:resnet8", data, *words[3:], "--width", 4, "--run", tmp_path / "other")
    assert_one_line(ranvier(*zoo, "--weights", run), 1, "--partial takes over what fits")
    taken: tuple[Any, ...] = ("--weights", run, "--partial", "--channels", 3)
    done = ranvier(*zoo[:-2], "--run", tmp_path / "other", *taken)
    assert_one_line(
        done, 1, "samples of 'image' are [1, 6, 6], the model's input 'image' takes [3,"
    )
    (run / "checkpoints" / "step-000000006.safetensors").write_bytes(b"damaged")
    assert_one_line(ranvier(*resumed), 1, "none of 1 checkpoints can be read; the newest: ")
