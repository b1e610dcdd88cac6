# SPDX-License-Identifier: MIT
"""Labels checked on the host, before a graph takes them in."""

from __future__ import annotations

import numpy as np

from ...errors import InputError
from ...ir import Array


def check_labels(
    labels: Array,
    classes: int,
    ignore_index: int | None = None,
    samples: Array | None = None,
) -> None:
    """Raise if a label of a batch is no class.

    Inside a graph such a label would silently add nothing to the loss.

    Args:
        labels: (N, ...), of any number type; floats must be whole.
        classes: labels are from 0 to below this number.
        ignore_index: a further label that is allowed.
        samples: the numbers of the N samples in their dataset, for the message; without them
            it counts within the batch.

    Raises:
        InputError: the message names the first such label, its sample and its place.

    >>> import numpy as np
    >>> check_labels(np.array([0, 1, 255]), 2, ignore_index=255)
    >>> check_labels(np.array([0, 2]), 2)
    Traceback (most recent call last):
    ranvier.errors.InputError: labels: sample 1 of the batch holds 2; expected 0 to 1
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "iufb":
        raise InputError(f"labels: expected numbers, found {values.dtype}")
    if values.size == 0 or _inside(values, classes):
        return
    good = (values >= 0) & (values < classes)
    if values.dtype.kind == "f":
        good &= values == np.trunc(values)
    _raise_unless(good, values, "labels", classes - 1, ignore_index, samples)


def check_shares(
    targets: Array, ignore_index: int | None = None, samples: Array | None = None
) -> None:
    """Raise if a target is not from 0 to 1, such as in a mask of 0 and 255.

    Args:
        targets: (N, ...), of any number type: masks, one-hot, probabilities.
        ignore_index: a further number that is allowed.
        samples: as for :func:`check_labels`.

    Raises:
        InputError: the message names the first such target, its sample and its place.

    >>> import numpy as np
    >>> check_shares(np.array([[0], [255]]))
    Traceback (most recent call last):
    ranvier.errors.InputError: targets: sample 1 of the batch at (0,) holds 255; expected 0 to 1
    """
    values = np.asarray(targets)
    if values.size and not _inside(values, 2):
        good = (values >= 0) & (values <= 1)
        _raise_unless(good, values, "targets", 1, ignore_index, samples)


def _raise_unless(
    good: Array,
    values: Array,
    what: str,
    last: int,
    ignore_index: int | None,
    samples: Array | None,
) -> None:
    """Raise at the first value that is neither good nor ignored."""
    if ignore_index is not None:
        good = good | (values == ignore_index)
    if good.all():
        return
    place = tuple(int(k) for k in np.unravel_index(int(np.argmin(good)), values.shape))
    allowed = f"expected 0 to {last}"
    if ignore_index is not None:
        allowed += f", or {ignore_index} for what is ignored"
    raise InputError(f"{what}: {_where(place, samples)} holds {values[place]}; {allowed}")


def _inside(values: Array, classes: int) -> bool:
    """Whether integers are all classes: the usual case, in two reads."""
    whole = values.dtype.kind in "iub"
    return whole and int(values.min()) >= 0 and int(values.max()) < classes


def _where(place: tuple[int, ...], samples: Array | None) -> str:
    if not place:
        return "the batch"
    sample, *rest = place
    named = f"sample {sample} of the batch" if samples is None else f"sample {int(samples[sample])}"
    return f"{named} at {tuple(rest)}" if rest else named
