# SPDX-License-Identifier: MIT
"""What ``ranvier train`` is asked for, as data, a model and a trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError, DataError, InputError, UnsupportedError
from .choices import Named
from .train_data import (
    Data,
    Pictures,
    check_classes,
    class_count,
    fitted,
    image_field,
    read_data,
    sample_validation,
    split,
    target_of,
)

if TYPE_CHECKING:
    from ..frontend.builder.augmentation import Augmentation
    from ..ir import Array
    from ..training.data import DataLoader
    from ..training.model import Model
    from ..training.trainer import Trainer

ZOO = "zoo:"
CONFUSION = "confusion"
"""Name of the metric that reports show as a table."""
_MOST_CLASSES = 50
"""Above this a table of confusions is no longer read by anyone."""


@dataclass(frozen=True)
class Settings:
    """The options of the command; see its help."""

    model: str
    data: str
    masks: Path | None
    levels: tuple[int, ...]
    inputs: Mapping[str, str]
    target: str | None
    validation: str | None
    validation_masks: Path | None
    sizes: Mapping[str, int]
    loss: Named
    optimizer: Named
    rate: float | None
    weight_decay: float | None
    schedule: Named | None
    epochs: int
    batch: int | None
    accumulate: int
    metrics: tuple[Named, ...]
    frozen: tuple[str, ...]
    clip_norm: float | None
    average: float | None
    memory: str | int
    threads: int | None
    seed: int
    augment: tuple[Named, ...]
    weights: Path | None
    partial: bool
    find_nan: bool


@dataclass
class Prepared:
    """A trainer with its data.

    Attributes:
        trainer: ready to fit.
        learning: batches to learn from.
        checking: batches to check with, if any.
        classes: names of the classes; empty if samples do not have one each.
        samples: how many there are to learn from, and to check with.
        notes: what was decided, for people.
    """

    trainer: Trainer
    learning: DataLoader
    checking: DataLoader | None
    classes: tuple[str, ...]
    samples: tuple[int, int]
    notes: list[str] = field(default_factory=list)

    def first_batch(self) -> dict[str, Array]:
        """Return a batch to plan memory by."""
        batches = self.learning.epoch(0)
        try:
            return next(batches)
        finally:
            batches.close()


def prepare(settings: Settings) -> Prepared:
    """Return a trainer with its data.

    Raises:
        DataError: the data is damaged, empty, or does not fit the model.
        InputError: an option does not fit.
        ModelError: the model is damaged.
        UnsupportedError: the model cannot be trained.
    """
    if settings.model.startswith(ZOO):
        data, model, notes = _of_zoo(settings)
    else:
        model = _onnx_model(settings.model)
        data, notes = _read(settings, model), []
    _check_model(model)
    data = _fitted(settings, data, model)
    notes += data.notes
    data, checking = _validation(settings, data, model)
    batch = _batch_size(settings, model, data)
    learning = _loader(data, batch, settings.seed)
    trainer = _trainer(settings, model, data, len(learning))
    if settings.weights is not None:
        notes += _take_over(trainer, settings.weights, settings.partial)
    left = len(data) % batch
    if left:
        notes.append(f"{left} of {len(data)} samples sit out of each epoch, others every time")
    scoring = None if checking is None else _scoring_loader(checking, batch, model)
    if checking is not None and scoring is not None and scoring.drop_last:
        left = len(checking) % batch
        notes += [f"{left} of {len(checking)} samples to check with are left out"] if left else []
    return Prepared(
        trainer,
        learning,
        scoring,
        _class_names(trainer, data),
        (len(data), 0 if checking is None else len(checking)),
        notes,
    )


# Models


def _onnx_model(path: str) -> Model:
    from ..training.model import OnnxModel

    if not Path(path).is_file():
        raise InputError(f"'{path}' is no file; expected an ONNX model or {ZOO}NAME")
    return OnnxModel(path)


def _of_zoo(settings: Settings) -> tuple[Data, Model, list[str]]:
    """Return data and a network whose sizes are those of the data, where none are given."""
    from ..frontend import zoo
    from ..training.model import as_model

    name = settings.model.removeprefix(ZOO)
    sizes: dict[str, int] = dict(settings.sizes)
    zoo.network(name, **sizes)  # whether there are such a model and such options
    known = zoo.MODELS[name].options
    size = sizes.get("size", known.get("size"))
    pictures = Pictures(
        sizes.get("channels", known.get("channels", 3)),
        None if size is None else (size, size),
        settings.levels,
    )
    data = read_data(settings.data, settings.masks, pictures)
    first = data.dataset[0]
    sample = first.get(settings.inputs.get("image") or image_field(tuple(first), "image"))
    if sample is not None and sample.ndim > 1 and (data.arrays or data.target == "mask"):
        last = sample.shape[-1] in (1, 3) and sample.shape[0] not in (1, 3)
        spatial = sample.shape[:-1] if last else sample.shape[1:]
        channels = sample.shape[-1 if last else 0]
        if sample.ndim == 2:
            channels, spatial = 1, sample.shape
        found = {"channels": channels, "size": spatial[0]}
        sizes = {**{k: int(v) for k, v in found.items() if k in known}, **sizes}
    if "classes" in known and "classes" not in sizes:
        sizes["classes"] = _classes(settings, data)
    model = as_model(lambda samples: zoo.network(name, batch=samples, **sizes), seed=settings.seed)
    return data, model, [f"{name} of {', '.join(f'{k} {v}' for k, v in sizes.items())}"]


def _classes(settings: Settings, data: Data) -> int:
    if data.classes:
        return len(data.classes)
    return class_count(data, target_of(data, settings.inputs, settings.target))


def _check_model(model: Model) -> None:
    if not model.trainable:
        raise UnsupportedError(
            f"model '{model.name}' has no weights that could be trained; were they made constants?"
        )
    if len(model.outputs) > 1:
        raise UnsupportedError(
            f"model '{model.name}' has the outputs {', '.join(model.outputs)}; this command "
            "trains models of one output. ranvier.Trainer takes losses of several (PerOutput)"
        )


# Data


def _read(settings: Settings, model: Model) -> Data:
    """Return the data; images are read as the model takes them."""
    shape = next(iter(model.inputs.values())).shape
    known = [d if isinstance(d, int) else None for d in shape]
    channels, *size = known[1:] if len(known) == 4 else (None, None, None)
    asked = settings.sizes.get("size")
    height, width = (asked, asked) if asked else size
    resized = (height, width) if height and width else None
    pictures = Pictures(settings.sizes.get("channels", channels or 3), resized, settings.levels)
    other = sorted(settings.sizes.keys() - {"size", "channels"})
    if other:
        raise InputError(f"--{other[0]} is for models of the zoo; '{settings.model}' has its own")
    return read_data(settings.data, settings.masks, pictures)


def _fitted(settings: Settings, data: Data, model: Model) -> Data:
    """Return data as the model takes it, its targets checked if they are in memory."""
    found = fitted(data, model.inputs, settings.inputs, settings.target)
    _check_targets(_loss(settings), model, found)
    return found


def _validation(settings: Settings, data: Data, model: Model) -> tuple[Data, Data | None]:
    """Return what to learn from, and what to check with, if anything."""
    loss_of_labels = getattr(_loss(settings), "of_classes", False)
    if loss_of_labels:
        check_classes(data)
    asked = settings.validation
    checking = sample_validation(settings.data) if asked is None else None
    if checking is not None:
        return data, _fitted(settings, checking, model)
    if asked == "none":
        return data, None
    share = _share(asked or "0.1")
    if share is not None:
        return split(data, share, settings.seed)
    shape = next(iter(data.dataset[0][k] for k in model.inputs)).shape
    size = (shape[1], shape[2]) if len(shape) == 3 else None
    pictures = Pictures(shape[0] if len(shape) == 3 else 3, size, settings.levels)
    other = read_data(str(asked), settings.validation_masks, pictures)
    if data.classes and other.classes != data.classes:
        raise DataError(
            f"'{other.source}' has the classes {', '.join(other.classes)}, '{data.source}' "
            f"{', '.join(data.classes)}; they must be the same"
        )
    return data, _fitted(settings, other, model)


def _share(text: str) -> float | None:
    try:
        share = float(text)
    except ValueError:
        return None
    if not 0 < share < 1:
        raise InputError(f"--validation {text}: a share must be above 0 and below 1, or 'none'")
    return share


def _batch_size(settings: Settings, model: Model, data: Data) -> int:
    fixed = next(iter(model.inputs.values())).shape[0]
    if isinstance(fixed, int):
        if settings.batch not in (None, fixed):
            raise InputError(
                f"--batch {settings.batch}: model '{model.name}' is for batches of {fixed}; "
                f"--accumulate averages the gradients of several"
            )
        batch = fixed
    else:
        batch = settings.batch or min(32, len(data))
    if batch > len(data):
        raise InputError(
            f"{len(data)} samples do not fill a batch of {batch}; take a smaller --batch"
        )
    return batch


def _loader(data: Data, batch: int, seed: int) -> DataLoader:
    from ..training.data import DataLoader

    # Files are read ahead by a thread of their own; arrays are there already.
    threads = 0 if data.in_memory else 1
    return DataLoader(data.dataset, batch, shuffle=True, seed=seed, drop_last=True, threads=threads)


def _scoring_loader(data: Data, batch: int, model: Model) -> DataLoader:
    """Return batches of equal size where that is possible: another size is another program."""
    from ..training.data import DataLoader

    fixed = isinstance(next(iter(model.inputs.values())).shape[0], int)
    if fixed and len(data) < batch:
        raise DataError(
            f"{len(data)} samples to check with do not fill a batch of {batch}, which model "
            f"'{model.name}' is for; give more by --validation, or none"
        )
    sizes = [n for n in range(max(1, batch // 2), 2 * batch + 1) if len(data) % n == 0]
    size = batch if fixed or not sizes else max(sizes)
    return DataLoader(data.dataset, size, drop_last=fixed)


def _check_targets(loss: Any, model: Model, data: Data) -> None:
    """Check all targets in memory at once, before anything is compiled."""
    from ..ir import TensorType
    from ..training.target_checks import check_targets

    if not data.arrays:
        return
    first = next(iter(model.inputs.values())).shape[0]
    batch = first if isinstance(first, int) else 2
    shapes = {k: (batch, *data.arrays[k].shape[1:]) for k in model.inputs}
    outputs = model.graph(shapes, (), model.parameters).outputs
    types = {v.name: v.type for v in outputs if isinstance(v.type, TensorType)}
    whole = {k: (len(data), *t.dims[1:]) for k, t in types.items()}
    try:
        check_targets(loss, whole, {data.target: data.arrays[data.target]}, None)
    except InputError as error:
        text = str(error).replace(" of the batch", "")
        raise DataError(f"'{data.source}', field '{data.target}': {text}") from error


# The trainer


def _loss(settings: Settings) -> Any:
    from ..training.losses import LOSSES, loss_named

    _check_kinds("loss", settings.loss, LOSSES)
    return loss_named(settings.loss.name, **settings.loss.options)


def _check_kinds(what: str, named: Named, table: Mapping[str, Any]) -> None:
    """Raise if an option is a text where a number is meant, or the other way round."""
    known = {f.name: f.default for f in fields(table[named.name])} if named.name in table else {}
    for option, value in named.options.items():
        text = isinstance(known.get(option), str)
        if option in known and isinstance(value, str) != text:
            kind = "text" if text else "number"
            raise InputError(f"{what} '{named.name}': {option}={value!r} must be a {kind}")


def _trainer(settings: Settings, model: Model, data: Data, batches: int) -> Trainer:
    from ..training.groups import ClipNorm
    from ..training.names import schedule_named
    from ..training.trainer import Options, Trainer
    from ..training.update import Average

    for pattern in settings.frozen:
        if not any(fnmatchcase(name, pattern) for name in model.parameters):
            names = list(model.parameters)
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")
            raise InputError(f"--freeze {pattern} matches no parameter; there are {shown}")
    updates = settings.epochs * -(-batches // settings.accumulate)
    named = settings.schedule
    return Trainer(
        model,
        _loss(settings),
        _optimizer(settings),
        metrics=_metrics(settings, model, data),
        schedule=None if named is None else schedule_named(named.name, updates, **named.options),
        augmentation=_augmentation(settings, model, data),
        options=Options(
            seed=settings.seed,
            threads=settings.threads,
            memory=settings.memory,
            frozen=settings.frozen,
            clip=None if settings.clip_norm is None else ClipNorm(settings.clip_norm),
            average=None if settings.average is None else Average(settings.average, warm_up=True),
            accumulate=settings.accumulate,
            find_non_finite=settings.find_nan,
        ),
    )


def _optimizer(settings: Settings) -> Any:
    from ..training.names import optimizer_named

    given = {"learning_rate": settings.rate, "weight_decay": settings.weight_decay}
    options = {k: v for k, v in given.items() if v is not None}
    return optimizer_named(settings.optimizer.name, **{**settings.optimizer.options, **options})


def _metrics(settings: Settings, model: Model, data: Data) -> dict[str, Any]:
    from ..training.metrics import METRICS, ConfusionMatrix, metric_named

    of_labels = data.labels is not None and getattr(_loss(settings), "of_classes", False)
    asked = settings.metrics or ((Named("accuracy"),) if of_labels else ())
    for metric in asked:
        _check_kinds("metric", metric, METRICS)
    found = {str(m): metric_named(m.name, **m.options) for m in asked}
    if of_labels and data.labels is not None and data.labels.max() < _MOST_CLASSES:
        found[CONFUSION] = ConfusionMatrix()
    return found


def _class_names(trainer: Trainer, data: Data) -> tuple[str, ...]:
    """Return names of the classes that confusions are counted of."""
    if CONFUSION not in trainer.metrics or data.labels is None:
        return ()
    return data.classes or tuple(map(str, range(int(data.labels.max()) + 1)))


def _augmentation(settings: Settings, model: Model, data: Data) -> Augmentation | None:
    """Return what changes images and, where they lie on them, masks."""
    from ..frontend.builder.augmentation import renamed, sequence
    from ..training.names import augmentation_named

    if not settings.augment:
        return None
    sample = data.dataset[0]
    images = [k for k in model.inputs if sample[k].ndim > 1]
    if len(images) != 1:
        raise InputError(
            f"--augment changes one image, model '{model.name}' takes {', '.join(model.inputs)}"
        )
    image, target = sample[images[0]], sample[data.target]
    lies_on = target.ndim > 1 and target.shape[-(image.ndim - 1) :] == image.shape[1:]
    steps = [augmentation_named(a.name, **a.options) for a in settings.augment]
    return renamed(sequence(*steps), image=images[0], mask=data.target if lies_on else None)


def _take_over(trainer: Trainer, path: Path, partial: bool) -> list[str]:
    """Take parameters of a checkpoint, or of the newest in a folder of a run."""
    from ..training.checkpoint import latest

    if path.is_dir():
        folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
        found = latest(folder).checkpoint
        if found is None:
            raise CheckpointError(f"--weights {path}: the folder has no checkpoints")
        path = found.path
    try:
        left = trainer.load_weights(path, partial=partial)
    except InputError as error:
        raise InputError(str(error).replace("partial=True", "--partial")) from error
    own = trainer.parameters()
    kept = [name for name in left if name in own]
    if len(kept) == len(own):
        raise InputError(f"--weights {path}: no parameter fits model '{trainer.model.name}'")
    shown = ", ".join(kept[:4]) + (f" and {len(kept) - 4} more" if kept[4:] else "")
    said = f"; {shown} begin anew" if kept else ""
    return [f"{len(own) - len(kept)} of {len(own)} parameters taken from {path}{said}"]
