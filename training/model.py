# SPDX-License-Identifier: MIT
"""What can be trained: a network that was built or an ONNX model, as a graph of its parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InputError, UnsupportedError
from ..frontend.builder import Network
from ..frontend.export import export
from ..frontend.export_imported import export_imported
from ..frontend.load import load
from ..frontend.model import ImportedModel
from ..frontend.specialise import NeedsInputs, specialise
from ..ir import Array, Graph, TensorType, Value
from ..passes import eliminate_dead_nodes, parameters_as_inputs
from .modes import for_inference
from .roles import learned, statistics, untied

if TYPE_CHECKING:
    from onnx import ModelProto

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Trainable: TypeAlias = (
    "Network | Callable[[int], Network] | str | PathLike[str] | bytes | ModelProto"
)


class Model(ABC):
    """An architecture with parameters that training changes.

    Attributes:
        name: of the model.
        inputs: names and types of the data; a size may be symbolic.
        outputs: names of what it computes.
        parameters: what the parameters hold at first, by name.
        trainable: names of the parameters that gradients change; the others are statistics
            that training counts, such as the mean of a batch norm.
    """

    name: str
    inputs: Mapping[str, TensorType]
    outputs: tuple[str, ...]
    parameters: Mapping[str, Array]
    trainable: frozenset[str]

    @abstractmethod
    def graph(
        self, shapes: Shapes, variables: Sequence[str], constants: Mapping[str, Array]
    ) -> Graph:
        """Return the canonical graph for data of these shapes.

        Its inputs are the data in the order of :attr:`inputs`, then the ``variables``. Where
        the model drops elements in training, see :class:`~ranvier.ir.ops.Dropout`, the graph
        holds that op.

        Args:
            shapes: of every input.
            variables: names of the parameters that stay open.
            constants: what the others hold.

        Raises:
            InputError: the shapes do not fit the model.
        """

    @abstractmethod
    def export(self, weights: Mapping[str, Array]) -> ModelProto:
        """Return the model with these parameters as ONNX."""


@dataclass(frozen=True)
class BuiltModel(Model):
    """A network of the builder, for one size of batches or for any.

    Attributes:
        build: makes the network for a number of samples.
        network: the network for one size, from which names and types are taken.
        weights: what the parameters hold at first.
        fixed: whether there is a network for one number of samples alone.
    """

    build: Callable[[int], Network]
    network: Network
    weights: Mapping[str, Array]
    fixed: bool

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the network."""
        return self.network.name

    @property
    def inputs(self) -> Mapping[str, TensorType]:  # type: ignore[override]
        """Names and types of the inputs; their first size is symbolic where any will do."""
        types = {name: x.type for name, x in self.network.named_inputs.items()}
        if self.fixed:
            return types
        return {k: TensorType(t.dtype, ("N", *t.dims[1:])) for k, t in types.items()}

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the outputs."""
        return tuple(self.network.outputs)

    @property
    def parameters(self) -> Mapping[str, Array]:  # type: ignore[override]
        """What the parameters hold at first."""
        return self.weights

    @property
    def trainable(self) -> frozenset[str]:  # type: ignore[override]
        """Names of the parameters that gradients change."""
        return frozenset(k for k, p in self.network.parameters.items() if p.trainable)

    def graph(
        self, shapes: Shapes, variables: Sequence[str], constants: Mapping[str, Array]
    ) -> Graph:
        """Build the network for the number of samples and write its graph."""
        check_shapes(self, shapes)
        network = self._sized(next(iter(shapes.values()))[0])
        weights = {k: constants.get(k, self.weights[k]) for k in network.parameters}
        return parameters_as_inputs(network.graph(weights=weights), variables)

    def export(self, weights: Mapping[str, Array]) -> ModelProto:
        """Write the network for the size at hand."""
        return export(self.network.graph(weights=weights))

    def _sized(self, samples: int) -> Network:
        if samples == next(iter(self.network.named_inputs.values())).shape[0]:
            return self.network
        network = self.build(samples)
        types = {k: p.type for k, p in network.parameters.items()}
        if types != {k: p.type for k, p in self.network.parameters.items()}:
            raise InputError(
                f"network '{self.name}': its parameters for {samples} samples are not those "
                "for others; its layers must not depend on the size of a batch"
            )
        return network


class OnnxModel(Model):
    """An ONNX model whose initialisers are its parameters.

    Floats that operators use as weights, scales, shifts or embeddings are trainable. Means and
    variances of batch norms are statistics. Other constants remain what they are. Arrays that
    are stored once because they happen to be equal become parameters of their own.

    Args:
        model: path, bytes or ``ModelProto``.

    Raises:
        ModelError: the model is damaged or breaks the standard.
    """

    def __init__(self, model: str | PathLike[str] | bytes | ModelProto) -> None:
        stated = load(Path(model) if isinstance(model, PathLike) else model)
        self.model = replace(stated, graph=untied(for_inference(stated.graph)))
        graph = self.model.graph
        self.name = graph.name
        self.inputs = {v.name: _tensor(self.model, v) for v in graph.inputs}
        self.outputs = tuple(v.name for v in graph.outputs)
        self.trainable = learned(graph)
        own = self.trainable | statistics(graph)
        self.parameters = {k: a for k, a in graph.parameters.items() if k in own}

    def graph(
        self, shapes: Shapes, variables: Sequence[str], constants: Mapping[str, Array]
    ) -> Graph:
        """Specialise the model with the variables as further inputs."""
        check_shapes(self, shapes)
        graph = replace(
            self.model.graph, parameters={**self.model.graph.parameters, **dict(constants)}
        )
        opened = parameters_as_inputs(graph, variables)
        types = [TensorType(t.dtype, shapes[k]) for k, t in self.inputs.items()]
        types += [v.type for v in opened.inputs[len(types) :] if isinstance(v.type, TensorType)]
        try:
            stage = specialise(opened, types, file=self.model.file)
        except NeedsInputs as needed:
            raise UnsupportedError(
                f"{self.model.file}: shapes depend on the values of "
                f"{', '.join(sorted(needed.names))}; keep them out of training by `frozen`"
            ) from needed
        if stage.rest is not None:
            raise UnsupportedError(
                f"{self.model.file}: sizes within the model depend on data, so it cannot be "
                "trained as one graph"
            )
        outputs = stage.graph.outputs[: len(self.outputs)]  # behind them are the flags of checks
        return eliminate_dead_nodes(replace(stage.graph, outputs=outputs))

    def export(self, weights: Mapping[str, Array]) -> ModelProto:
        """Write the model as it was stated, with other initialisers."""
        graph = self.model.graph
        parameters = {k: weights.get(k, a) for k, a in graph.parameters.items()}
        return export_imported(replace(self.model, graph=replace(graph, parameters=parameters)))


def as_model(
    model: Trainable | Model, weights: Mapping[str, Array] | None = None, seed: int = 0
) -> Model:
    """Return what can be trained as a :class:`Model`.

    Args:
        model: a network; a function from the number of samples to a network, which is then
            trained and evaluated at any size of batches; or an ONNX model.
        weights: what the parameters of a network hold at first; by default what the
            scheme ``training`` of :meth:`Network.initial` draws.
        seed: of the draw.

    Raises:
        InputError: nothing of the kind.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, Network):
        drawn = model.initial(seed, "training") if weights is None else dict(weights)
        return BuiltModel(lambda samples: model, model, drawn, fixed=True)
    if callable(model):
        network = model(1)
        drawn = network.initial(seed, "training") if weights is None else dict(weights)
        return BuiltModel(model, network, drawn, fixed=False)
    if weights is not None:
        raise InputError("weights: an ONNX model has its own; load others by Trainer.load_weights")
    return OnnxModel(model)


def check_shapes(model: Model, shapes: Shapes) -> None:
    """Raise unless ``shapes`` has a fitting one for every input of ``model``.

    Raises:
        InputError: one is missing, or sizes do not fit.
    """
    for name, type in model.inputs.items():
        if name not in shapes:
            raise InputError(
                f"model '{model.name}': the data has no field '{name}', which is an input; it "
                f"has: {', '.join(shapes) or 'none'}"
            )
        found = shapes[name]
        if len(found) != type.rank or any(
            isinstance(want, int) and want != size
            for want, size in zip(type.shape, found, strict=True)
        ):
            raise InputError(
                f"model '{model.name}': input '{name}' is {type}, the data has {list(found)}"
            )


def _tensor(model: ImportedModel, value: Value) -> TensorType:
    if not isinstance(value.type, TensorType):
        raise UnsupportedError(
            f"{model.file}: input '{value.name}' is {value.type}; only tensors can be trained on"
        )
    return value.type


__all__ = ["BuiltModel", "Model", "OnnxModel", "Trainable", "as_model", "check_shapes"]
