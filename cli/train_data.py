# SPDX-License-Identifier: MIT
"""Data of ``ranvier train``: arrays, images by class, images with masks, as a model takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError

if TYPE_CHECKING:
    from ..ir import Array, TensorType
    from ..training.data import Dataset

SAMPLE = "sample:"
_TARGETS = ("label", "labels", "mask", "masks", "target", "y")
_IMAGES = ("image", "images")


@dataclass(frozen=True)
class Pictures:
    """How files of images are read.

    Attributes:
        channels: 1 for grey, 3 for colours.
        size: height and width they are resized to; as they are if it is left out.
        levels: grey levels of masks, in the order of classes.
    """

    channels: int = 3
    size: tuple[int, int] | None = None
    levels: tuple[int, ...] = (0, 255)


@dataclass(frozen=True)
class Data:
    """Samples to learn from or to check with.

    Attributes:
        source: what messages call them.
        dataset: the samples.
        arrays: the same, if they are all in memory and no part of others.
        in_memory: whether reading a sample takes no time.
        labels: the class of every sample, if they have one each.
        classes: names of the classes, as far as they are known.
        target: the field that is to be predicted; empty before it was looked for.
        notes: what was decided about them, for people.
    """

    source: str
    dataset: Dataset
    arrays: Mapping[str, Array] = field(default_factory=dict)
    in_memory: bool = False
    labels: Array | None = None
    classes: tuple[str, ...] = ()
    target: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    def part(self, numbers: Array) -> Data:
        """Return the samples of these numbers."""
        from ..training.data import Subset

        labels = None if self.labels is None else self.labels[numbers]
        return replace(self, dataset=Subset(self.dataset, numbers), arrays={}, labels=labels)


def read_data(source: str, masks: Path | None, pictures: Pictures) -> Data:
    """Return samples before they are fitted to a model.

    Args:
        source: an ``.npz`` file, perhaps with a ``:part`` whose name its fields begin with; a
            folder of folders of images, or with ``masks`` a folder of images;
            ``sample:pneumonia`` is what comes with the package.
        masks: folder of masks.
        pictures: how images are read.

    Raises:
        DataError: there is nothing of the kind, or it is damaged or empty.
        UnsupportedError: images need Pillow, which is not installed.
    """
    path = Path(source)
    if masks is not None:
        return _pairs(path, masks, pictures)
    if source.startswith(SAMPLE):
        return _sample(source)[0]
    if path.is_dir():
        return _by_class(path, pictures)
    part = ""
    if not path.exists() and ".npz:" in source:
        file, _, part = source.rpartition(":")
        path = Path(file)
    if not path.exists():
        raise DataError(f"'{source}' does not exist; expected an .npz file or a folder of images")
    return _arrays(path, part)


def sample_validation(source: str) -> Data | None:
    """Return the part to check with of samples that come with the package."""
    return _sample(source)[1] if source.startswith(SAMPLE) else None


def _sample(source: str) -> tuple[Data, Data]:
    from ..training.data import samples

    if source != f"{SAMPLE}pneumonia":
        raise DataError(f"'{source}': there is only {SAMPLE}pneumonia")
    first, second = (
        Data(source, part, part.arrays, True, part.arrays["label"], samples.CLASSES)
        for part in samples.pneumonia()
    )
    return first, second


def _arrays(path: Path, part: str) -> Data:
    from ..training.data import ArrayDataset, read_npz

    arrays = read_npz(path)
    prefix = f"{part}_" if part else ""
    chosen = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
    if not chosen:
        raise DataError(f"'{path}' has no fields that begin with '{prefix}': {', '.join(arrays)}")
    try:
        dataset = ArrayDataset(**chosen)
    except DataError as error:
        hint = f". Of parts such as train_… and val_… name one: {path}:train"
        raise DataError(f"'{path}': {error}{'' if part else hint}") from None
    source = f"{path}:{part}" if part else str(path)
    if not len(dataset):
        raise DataError(f"'{source}' has no samples")
    return Data(source, dataset, dataset.arrays, True)


def _by_class(path: Path, pictures: Pictures) -> Data:
    from ..training.data import ImageFolder

    folder = ImageFolder(path, channels=pictures.channels, size=pictures.size)
    return Data(str(path), folder, labels=folder.labels, classes=folder.classes, target="label")


def _pairs(path: Path, masks: Path, pictures: Pictures) -> Data:
    from ..training.data import ImagesWithMasks

    found = ImagesWithMasks(path, masks, pictures.levels, pictures.channels)
    return Data(str(path), found, target="mask", classes=tuple(map(str, pictures.levels)))


def fitted(
    data: Data, inputs: Mapping[str, TensorType], renamed: Mapping[str, str], target: str | None
) -> Data:
    """Return data whose fields are called as the inputs of a model and have their types.

    Args:
        data: as it was read.
        inputs: names and types that the model takes.
        renamed: field by input, where they are called otherwise.
        target: the field to predict; found by its name if it is left out.

    Raises:
        DataError: a field is missing, or does not fit.
    """
    sample = data.dataset[0]
    fields = _fields(data, inputs, renamed, tuple(sample))
    aim = _target(data, tuple(k for k in sample if k not in fields.values()), target)
    notes = [f"input '{k}' is field '{f}'" for k, f in fields.items() if k != f]
    if data.arrays:
        from ..training.data import ArrayDataset

        made: dict[str, Array] = {}
        for name, field_name in fields.items():
            made[name], said = _as_input(data, field_name, name, inputs[name])
            notes += said
        made[aim] = _as_target(data, aim)
        labels = made[aim] if made[aim].ndim == 1 and made[aim].dtype.kind in "iu" else None
        dataset: Dataset = ArrayDataset(**made)
        return replace(
            data, dataset=dataset, arrays=made, labels=labels, target=aim, notes=tuple(notes)
        )
    for name, field_name in fields.items():
        _check_shape(data, field_name, sample[field_name].shape, name, inputs[name])
    return replace(data, dataset=_Renamed(data.dataset, fields, aim), notes=tuple(notes))


class _Renamed:
    """A dataset whose fields are called as a model's inputs."""

    def __init__(self, source: Dataset, fields: Mapping[str, str], target: str) -> None:
        self._source = source
        self._names = {**fields, target: target}

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int, /) -> dict[str, Array]:
        sample = self._source[index]
        return {name: sample[field] for name, field in self._names.items()}


def _fields(
    data: Data, inputs: Mapping[str, TensorType], renamed: Mapping[str, str], known: Sequence[str]
) -> dict[str, str]:
    """Return the field of each input."""
    unknown = [name for name in renamed if name not in inputs]
    if unknown:
        raise DataError(f"--input {unknown[0]}=…: the model's inputs are {', '.join(inputs)}")
    found: dict[str, str] = {}
    for name in inputs:
        found[name] = renamed.get(name) or image_field(known, name if len(inputs) == 1 else "")
        found[name] = found[name] or name
        if found[name] not in known:
            raise DataError(
                f"'{data.source}' has no field '{found[name]}' for the model's input '{name}'; it "
                f"has: {', '.join(known)}. Name one by --input {name}=FIELD"
            )
    return found


def image_field(known: Sequence[str], only_input: str) -> str:
    """Return the field for the only input of a model: of its name, or called image or images."""
    if only_input in known or not only_input:
        return only_input
    return next((k for k in _IMAGES if k in known), "")


def _target(data: Data, rest: Sequence[str], target: str | None) -> str:
    """Return the name of the field to predict."""
    if target is not None and target not in rest:
        raise DataError(
            f"'{data.source}' has no field '{target}' besides the model's inputs; there are: "
            f"{', '.join(rest) or 'none'}"
        )
    found = [k for k in _TARGETS if k in rest] or list(rest)
    if target is None and len(found) != 1:
        raise DataError(
            f"'{data.source}': which field is to be predicted? Name it by --target FIELD; there "
            f"are: {', '.join(found) or 'none besides the inputs'}"
        )
    return found[0] if target is None else target


def _as_input(data: Data, name: str, input: str, wanted: TensorType) -> tuple[Array, list[str]]:
    """Return a field with the axes and the type of an input, and what was done to it."""
    from ..ir.types import numpy_dtype

    array, notes = data.arrays[name], []
    channels = wanted.shape[1] if wanted.rank > 1 else None
    if array.ndim == wanted.rank - 1 and channels == 1:
        array = array[:, None]
    elif array.ndim == wanted.rank > 3 and array.shape[1] != channels == array.shape[-1]:
        array = np.moveaxis(array, -1, 1)
        notes.append(f"channels of '{name}' moved from the last axis to the second")
    _check_shape(data, name, array.shape[1:], input, wanted)
    kind = numpy_dtype(wanted.dtype)
    if array.dtype == np.uint8 and kind.kind == "f":
        notes.append(f"'{name}' scaled from 0…255 to 0…1")
        array = array.astype(kind) / kind.type(255)
    elif array.dtype != kind:
        if array.dtype.kind not in "biuf" or (kind.kind in "iu" and array.dtype.kind == "f"):
            raise DataError(
                f"'{data.source}': field '{name}' holds {array.dtype}, input '{input}' takes "
                f"{wanted.dtype}"
            )
        array = array.astype(kind)
    return np.ascontiguousarray(array), notes


def _as_target(data: Data, name: str) -> Array:
    array = data.arrays[name]
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"'{data.source}': field '{name}' holds {array.dtype}; expected numbers, such as "
            "classes from 0 on"
        )
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    return array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array


def _check_shape(
    data: Data, name: str, shape: tuple[int, ...], input: str, wanted: TensorType
) -> None:
    fits = len(shape) == wanted.rank - 1 and all(
        not isinstance(want, int) or want == size
        for want, size in zip(wanted.shape[1:], shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"'{data.source}': samples of '{name}' are {list(shape)}, the model's input '{input}' "
            f"takes {list(wanted.shape[1:])}; change the data, or --size and --channels"
        )


def check_classes(data: Data) -> None:
    """Raise if the samples have one class each and it is always the same.

    Raises:
        DataError: there is nothing to tell apart.
    """
    if data.labels is None:
        return
    found = np.unique(data.labels)
    if len(found) < 2:
        raise DataError(
            f"'{data.source}': all {len(data)} samples are of class {found[0]}; learning to tell "
            "classes apart needs at least two"
        )


def class_count(data: Data, target: str) -> int:
    """Return how many classes there are: labels must be 0, 1, ... without gaps.

    Raises:
        DataError: they are not.
    """
    if data.classes:
        return len(data.classes)
    found = np.unique(_as_target(data, target))
    if not np.array_equal(found, np.arange(len(found))):
        shown = ", ".join(f"{x:g}" for x in found[:6]) + (", …" if len(found) > 6 else "")
        raise DataError(
            f"'{data.source}': field '{target}' holds {shown}; number the classes 0, 1, … without "
            "gaps, or say how many there are by --classes"
        )
    return max(2, len(found))


def target_of(data: Data, renamed: Mapping[str, str], target: str | None) -> str:
    """Return the name of the field to predict, before the model's other inputs are known.

    Raises:
        DataError: it is not clear which one that is.
    """
    known = tuple(data.dataset[0])
    inputs = {image_field(known, "image"), *renamed.values()}
    return _target(data, tuple(k for k in known if k not in inputs), target)


def split(data: Data, share: float, seed: int) -> tuple[Data, Data]:
    """Return what to learn from and a share to check with, classes in the same proportion.

    Raises:
        DataError: there are too few samples.
    """
    from ..training.data import stratified_split

    labels = np.zeros(len(data), np.int64) if data.labels is None else data.labels
    try:
        first, second = stratified_split(labels, (1 - share, share), seed)
    except DataError as error:
        raise DataError(
            f"'{data.source}': {share:g} of {len(data)} samples cannot be split off ({error}); "
            "give another --validation, or 'none'"
        ) from error
    return data.part(first), data.part(second)
