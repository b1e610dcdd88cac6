# SPDX-License-Identifier: MIT
"""Datasets, splits and the loader of batches.

>>> from ranvier.training.data import DataLoader, samples
>>> train, validation = samples.pneumonia()
>>> loader = DataLoader(train, 64, shuffle=True, seed=1)
>>> batch = next(loader.epoch(0))
>>> {name: (str(array.dtype), array.shape) for name, array in batch.items()}
{'image': ('float32', (64, 1, 28, 28)), 'label': ('int64', (64,)), 'index': ('int64', (64,)), \
'key': ('uint32', (64, 4))}
"""

from . import samples
from .archive import read_npz
from .dataset import (
    ArrayDataset,
    Batch,
    Concatenation,
    Dataset,
    Mapped,
    Reader,
    Sample,
    Subset,
)
from .folders import ImageFolder, ImagesWithMasks
from .loader import DataLoader
from .order import ClassBalanced, Sampler, Sequential, Shuffled, Weighted, sample_keys
from .splits import stratified_split

__all__ = [
    "ArrayDataset",
    "Batch",
    "ClassBalanced",
    "Concatenation",
    "DataLoader",
    "Dataset",
    "ImageFolder",
    "ImagesWithMasks",
    "Mapped",
    "Reader",
    "Sample",
    "Sampler",
    "Sequential",
    "Shuffled",
    "Subset",
    "Weighted",
    "read_npz",
    "sample_keys",
    "samples",
    "stratified_split",
]
