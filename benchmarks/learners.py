# SPDX-License-Identifier: MIT
"""A task learned by ranvier, and by torch from the same weights, on the same batches."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .learning_tasks import MEMBRANE_UNET, LearningTask, task_named
from .memory import peak

Figures = Mapping[str, float]


def learn_with_ranvier(name: str, seed: int, threads: int) -> dict[str, Any]:
    """Learn a task; return figures of validation, seconds, and the peak of memory."""
    from ranvier.training import losses, optimizers
    from ranvier.training.schedules import OneCycle
    from ranvier.training.trainer import Options, Trainer

    task = task_named(name)
    train, validation = task.loaders(seed)
    recipe = task.recipe
    trainer = Trainer(
        task.network,
        losses.CrossEntropy(label_smoothing=recipe.smoothing),
        optimizers.AdamW(recipe.rate, weight_decay=recipe.decay),
        metrics=task.metrics(),
        schedule=OneCycle(recipe.epochs * len(train)),
        augmentation=None if task.augmentation is None else task.augmentation(),
        options=Options(seed=seed, threads=threads),
    )
    started = time.perf_counter()
    trainer.planned_memory(next(train.epoch(0)))  # compiles
    compiled = time.perf_counter()
    history = trainer.fit(train, recipe.epochs)
    seconds = time.perf_counter() - compiled
    return {
        "figures": trainer.evaluate(validation),
        "losses": [row.figures["loss"] for row in history.epochs],
        "compile_seconds": compiled - started,
        "seconds": seconds,
        "peak": peak(),
    }


def learn_with_torch(name: str, seed: int, threads: int) -> dict[str, Any]:
    """Learn a task that torch has a module for, as :func:`learn_with_ranvier` does."""
    import torch

    from ranvier.training.schedules import OneCycle

    task = task_named(name)
    torch.set_num_threads(threads)
    train, validation = task.loaders(seed)
    recipe = task.recipe
    module = _module(task, train.batch_size, seed)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=recipe.rate, weight_decay=recipe.decay, fused=True
    )
    schedule = OneCycle(recipe.epochs * len(train))
    started, step, losses = time.perf_counter(), 0, []
    for epoch in range(recipe.epochs):
        sums, seen = 0.0, 0
        for batch in train.epoch(epoch):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * schedule(step)
            loss = _loss(module, batch, recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step, sums, seen = step + 1, sums + loss.item(), seen + 1
        losses.append(sums / seen)
    seconds = time.perf_counter() - started
    return {
        "figures": _validated(module, validation, task),
        "losses": losses,
        "compile_seconds": 0.0,
        "seconds": seconds,
        "peak": peak(),
    }


def _module(task: LearningTask, samples: int, seed: int) -> Any:
    """Return the U-Net with the weights that ranvier begins with."""
    import torch

    from .torch_networks import UNet, load_weights

    module = UNet(**MEMBRANE_UNET)
    load_weights(module, task.network(samples).initial(seed, "training"))
    return module.to(memory_format=torch.channels_last).train()


def _loss(module: Any, batch: Mapping[str, Any], smoothing: float) -> Any:
    import torch

    scores = module(_image(batch))
    labels = torch.from_numpy(batch["mask"][:, 0])
    return torch.nn.functional.cross_entropy(scores, labels, label_smoothing=smoothing)


def _image(batch: Mapping[str, Any]) -> Any:
    import torch

    return torch.from_numpy(batch["image"]).to(memory_format=torch.channels_last)


def _validated(module: Any, validation: Any, task: LearningTask) -> Figures:
    import torch

    metrics = task.metrics()
    module.eval()
    with torch.no_grad():
        for batch in validation.epoch(0):
            scores = module(_image(batch)).contiguous().numpy()
            for metric in metrics.values():
                metric.update(scores, batch["mask"])
    return {name: float(metric.result()) for name, metric in metrics.items()}


LEARNERS = {"ranvier": learn_with_ranvier, "torch": learn_with_torch}
"""By the name of the training engine in whose process they run."""
