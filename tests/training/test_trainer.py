# SPDX-License-Identifier: MIT
"""The loop from end to end: learning, scoring, stopping, going on bit for bit, exporting."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from ranvier.errors import CheckpointError, InputError, NonFiniteError
from ranvier.frontend import builder as nn
from ranvier.frontend.builder import Network, Tensor
from ranvier.frontend.builder import augmentation as aug
from ranvier.ir import Array, interpret
from ranvier.training.callbacks import Callback, Checkpoints
from ranvier.training.data import ArrayDataset, DataLoader
from ranvier.training.losses import CrossEntropy
from ranvier.training.optimizers import SGD, Adam
from ranvier.training.trainer import Options, Trainer


def tiny(samples: int) -> Network:
    """A convolution, a batch norm and a linear layer."""
    x = nn.input("image", (samples, 1, 6, 6))
    y = nn.relu(nn.batch_norm(nn.conv(x, 4, 3, padding=1, bias=False, name="conv"), name="norm"))
    return nn.network("tiny", [x], {"scores": nn.linear(nn.flatten(y), 2, name="fc")})


class Blobs:
    """Images that are brighter on the left or on the right, in a fixed order per epoch."""

    def __init__(self, count: int = 20, size: int = 4) -> None:
        rng = np.random.default_rng(7)
        self.label = np.arange(count) % 2
        self.image = rng.standard_normal((count, 1, 6, 6)).astype(np.float32)
        self.image[self.label == 0, :, :, :3] += 1
        self.image[self.label == 1, :, :, 3:] += 1
        self.size = size

    def __len__(self) -> int:
        return math.ceil(len(self.label) / self.size)

    def epoch(self, number: int, start_step: int = 0) -> Iterator[Mapping[str, Array]]:
        order = np.random.default_rng(number).permutation(len(self.label))
        for k in range(start_step, len(self)):
            rows = order[k * self.size : (k + 1) * self.size]
            yield {"image": self.image[rows], "label": self.label[rows], "index": rows}


def trainer_of(**options: object) -> Trainer:
    return Trainer(
        tiny,
        CrossEntropy(),
        Adam(0.01),
        options=Options(threads=1, **options),  # type: ignore[arg-type]
    )


class StopAfter(Callback):
    """Stops after so many updates, as an interruption does."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step_end(self, run: object, step: int, figures: object) -> None:
        if step == self.steps:
            run.stop("enough")  # type: ignore[attr-defined]


def test_a_run_learns_and_says_so() -> None:
    trainer = trainer_of()
    history = trainer.fit(Blobs(), 15, validation=Blobs(8))
    _, losses = history.series("loss")
    _, scores = history.series("val_loss")
    assert len(losses) == 15
    assert losses[-1] < 0.2 * losses[0]
    assert scores[-1] < 0.3
    assert trainer.position.step == 15 * 5
    assert history.names("steps")[:3] == ["loss", "learning_rate", "grad_norm"]


def test_evaluation_is_the_mean_over_samples_whatever_the_batches() -> None:
    trainer = trainer_of()
    whole = trainer.evaluate(Blobs(size=20))["loss"]
    split = trainer.evaluate(Blobs(size=7))["loss"]  # the last one is smaller
    assert split == pytest.approx(whole, rel=1e-6)


def test_predictions_are_those_of_the_exported_model(tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    trainer = trainer_of()
    data = Blobs()
    trainer.fit(data, 2)
    batch = {"image": data.image[:1]}
    path = tmp_path / "tiny.onnx"
    trainer.export(path)
    (expected,) = ort.InferenceSession(path).run(None, batch)
    np.testing.assert_allclose(trainer.predict(batch)["scores"], expected, atol=1e-5)
    graph = tiny(1).graph(weights=trainer.parameters())
    np.testing.assert_allclose(interpret(graph, [batch["image"]])[0], expected, atol=1e-5)


@pytest.mark.parametrize("stop", [3, 5, 7])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path, stop: int, accumulate: int) -> None:
    straight = trainer_of(accumulate=accumulate)
    straight.fit(Blobs(), 4)
    first = trainer_of(accumulate=accumulate)
    first.fit(Blobs(), 4, callbacks=[StopAfter(stop), Checkpoints(tmp_path, every_steps=1)])
    second = trainer_of(accumulate=accumulate)
    second.resume(max(tmp_path.glob("*.safetensors")))
    assert second.position.step == stop
    second.fit(Blobs(), 4)
    for name, array in straight.parameters().items():
        np.testing.assert_array_equal(array, second.parameters()[name], err_msg=name)
    losses = [h.series("loss")[1] for h in (straight.history, second.history)]
    assert losses[0] == losses[1]


def test_threads_change_nothing() -> None:
    runs = [
        Trainer(tiny, CrossEntropy(), SGD(0.05, momentum=0.9), options=Options(threads=n))
        for n in (1, 2)
    ]
    for run in runs:
        run.fit(Blobs(), 2)
    for name, array in runs[0].parameters().items():
        np.testing.assert_array_equal(array, runs[1].parameters()[name], err_msg=name)


def test_less_memory_changes_no_bit() -> None:
    runs = [trainer_of(memory=level) for level in ("full", "low")]
    for run in runs:
        run.fit(Blobs(), 2)
    for name, array in runs[0].parameters().items():
        np.testing.assert_array_equal(array, runs[1].parameters()[name], err_msg=name)


def test_accumulated_batches_are_one_large_one() -> None:
    # Without batch norm, whose statistics are those of each batch.
    def plain(samples: int) -> Network:
        x = nn.input("image", (samples, 1, 6, 6))
        return nn.network("plain", [x], {"scores": nn.linear(nn.flatten(x), 2, name="fc")})

    small = Trainer(plain, CrossEntropy(), SGD(0.1), options=Options(accumulate=5))
    large = Trainer(plain, CrossEntropy(), SGD(0.1))
    small.fit(Blobs(size=4), 3)
    large.fit(Blobs(size=20), 3)
    assert small.position.step == large.position.step == 3
    for name, array in large.parameters().items():
        np.testing.assert_allclose(small.parameters()[name], array, rtol=1e-5, atol=1e-6)


def test_frozen_parameters_and_their_statistics_stay() -> None:
    trainer = trainer_of(frozen=("conv.*", "norm.*"))
    before = {k: a.copy() for k, a in trainer.parameters().items()}
    trainer.fit(Blobs(), 1)
    after = trainer.parameters()
    changed = {k for k, a in after.items() if not np.array_equal(a, before[k])}
    assert changed == {"fc.weight", "fc.bias"}
    with pytest.raises(InputError, match="every parameter is frozen"):
        trainer_of(frozen=("*",))


def test_frozen_parameters_are_taken_over_from_elsewhere() -> None:
    """Freezing what was learned elsewhere: as a model that had it from the beginning."""
    source, data = trainer_of(seed=3), Blobs()
    trainer = trainer_of(frozen=("conv.*", "norm.*"))
    trainer.evaluate(data)  # is compiled for other constants
    assert trainer.load_weights(source.parameters()) == []
    expected = source.evaluate(data)["loss"]
    assert trainer.evaluate(data)["loss"] == pytest.approx(expected, rel=1e-6)
    trainer.fit(data, 1)
    weight = trainer.parameters()["conv.weight"]
    np.testing.assert_array_equal(weight, source.parameters()["conv.weight"])
    with pytest.raises(InputError, match=r"parameter 'conv.weight' is float32 \[4, 1, 3, 3\]"):
        trainer.set_parameters({"conv.weight": weight[:2]})


def test_a_head_is_left_out_when_weights_are_taken_over() -> None:
    def other(samples: int) -> Network:
        x = nn.input("image", (samples, 1, 6, 6))
        y = nn.batch_norm(nn.conv(x, 4, 3, padding=1, bias=False, name="conv"), name="norm")
        return nn.network("other", [x], {"scores": nn.linear(nn.flatten(y), 5, name="fc")})

    source = trainer_of(seed=3)
    target = Trainer(other, CrossEntropy(), Adam(0.01))
    assert target.load_weights(source.parameters(), partial=True) == ["fc.bias", "fc.weight"]
    np.testing.assert_array_equal(
        target.parameters()["conv.weight"], source.parameters()["conv.weight"]
    )
    with pytest.raises(InputError, match=r"'fc.bias' is not in both, or of another shape"):
        target.load_weights(source.parameters())


def test_a_loss_that_is_not_finite_names_its_origin_and_changes_nothing() -> None:
    def spoilt(outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.mean(nn.log(outputs - outputs))

    trainer = Trainer(tiny, spoilt, Adam(0.01))
    before = {k: a.copy() for k, a in trainer.parameters().items()}
    batch = next(Blobs().epoch(0))
    with pytest.raises(NonFiniteError, match=r"step 0 \(epoch 0\): the loss is -inf; .* of log"):
        trainer.train_step(batch)
    for name, array in trainer.parameters().items():
        np.testing.assert_array_equal(array, before[name])


def test_data_that_is_not_finite_is_named() -> None:
    batch = dict(next(Blobs().epoch(0)))
    batch["image"] = batch["image"].copy()
    batch["image"][0, 0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"the data or parameter 'image': 1 of 144 elements"):
        trainer_of().train_step(batch)


def test_labels_out_of_range_are_refused() -> None:
    batch = dict(next(Blobs().epoch(0)))
    batch["label"] = np.array([0, 1, 2, 0])
    sample = int(batch["index"][2])
    with pytest.raises(InputError, match=rf"sample {sample} holds 2; expected 0 to 1"):
        trainer_of().train_step(batch)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    trainer_of().save(tmp_path / "one.safetensors")

    def wider(samples: int) -> Network:
        x = nn.input("image", (samples, 1, 6, 6))
        return nn.network("wider", [x], {"scores": nn.linear(nn.flatten(x), 2, name="fc")})

    with pytest.raises(CheckpointError, match="is of another model"):
        Trainer(wider, CrossEntropy(), Adam(0.01)).resume(tmp_path / "one.safetensors")


def test_memory_is_reported_before_running() -> None:
    batch = next(Blobs().epoch(0))
    full, low = (trainer_of(memory=x).planned_memory(batch) for x in ("full", "low"))
    assert 0 < low <= full


def test_random_numbers_of_a_resumed_run_are_those_of_an_unbroken_one(tmp_path: Path) -> None:
    """Order, augmentation and dropout come from seed, epoch and sample, whatever was before."""

    def dropping(samples: int) -> Network:
        x = nn.input("image", (samples, 1, 6, 6))
        y = nn.dropout(nn.relu(nn.linear(nn.flatten(x), 16, name="first")), 0.4)
        return nn.network("dropping", [x], {"scores": nn.linear(y, 2, name="last")})

    blobs = Blobs()
    augmentation = aug.sequence(aug.flip(), aug.gaussian_noise((0.0, 0.2)))

    def run(threads: int) -> tuple[Trainer, DataLoader]:
        data = ArrayDataset(image=blobs.image, label=blobs.label)
        trainer = Trainer(dropping, CrossEntropy(), Adam(0.01), augmentation=augmentation)
        return trainer, DataLoader(data, 4, shuffle=True, seed=3, threads=threads)

    straight, data = run(0)
    straight.fit(data, 3)
    first, data = run(2)
    first.fit(data, 3, callbacks=[StopAfter(7), Checkpoints(tmp_path)])
    second, data = run(1)
    second.resume(max(tmp_path.glob("*.safetensors")))
    second.fit(data, 3)
    for name, array in straight.parameters().items():
        np.testing.assert_array_equal(array, second.parameters()[name], err_msg=name)
