# SPDX-License-Identifier: MIT
"""Typed errors: each says what was expected, what was found, where, and what to do."""


class RanvierError(Exception):
    """Base of every error that ranvier raises on purpose."""


class ModelError(RanvierError):
    """A model file is damaged, hostile or breaks the ONNX standard."""


class UnsupportedError(RanvierError):
    """The request is valid but outside what this version can do."""


class OpError(RanvierError):
    """An op was given operand types or attributes that it does not accept."""


class LayerError(RanvierError):
    """A layer of the builder was given what it cannot take; the message names the layer."""


class VerificationError(RanvierError):
    """A graph lacks a property that it must have; the message lists neighbouring nodes."""


class PassError(RanvierError):
    """A pass is unknown, or was given an option that it does not have."""


class ParseError(RanvierError):
    """A textual graph cannot be read; the message carries line number and line."""


class InputError(RanvierError):
    """An array passed to ``run`` does not fit the model's declared inputs."""


class DataError(RanvierError):
    """A dataset, one of its samples or what is asked of a loader is not as it must be."""


class ExecutionError(RanvierError):
    """A compiled program found invalid data while running, such as an index out of range."""


class ArtifactError(RanvierError):
    """An artifact is damaged, of another version, or does not hold what is asked of it."""


class TargetError(RanvierError):
    """A target is unknown, misspelt or cannot be used on this machine."""


class CompileError(RanvierError):
    """A kernel could not be compiled to machine code."""


class CacheError(RanvierError):
    """The kernel cache cannot be read or written."""


class TrainingError(RanvierError):
    """Training was given what it cannot work with, such as a figure that nobody reports."""


class CheckpointError(RanvierError):
    """A checkpoint is damaged, of another version, or of another model."""


class NonFiniteError(RanvierError):
    """A loss or a gradient is NaN or infinite; the message says at which step, and from what."""
