# SPDX-License-Identifier: MIT
"""A described network: its parameters by name, what it costs, and the graph with weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ...errors import LayerError
from ...ir import Array, Graph, Node, Value, ops, type_of
from .tensor import Constant, Input, Layer, Origin, Parameter, Step, Tensor

SCHEMES = ("noticed", "training")
"""Names of what parameters may hold at first."""


@dataclass(frozen=True)
class Network:
    """An architecture without weights: cheap to make, whatever its size.

    Attributes:
        name: of the graph.
        inputs: tensors made by :func:`~ranvier.frontend.builder.input`, in order.
        outputs: what it computes, by name, in order.

    >>> from ranvier.frontend import builder as nn
    >>> x = nn.input("x", (1, 4))
    >>> network = nn.network("tiny", [x], {"y": nn.relu(nn.linear(x, 2, name="fc"))})
    >>> {name: str(p.type) for name, p in network.parameters.items()}
    {'fc.weight': 'float32[4, 2]', 'fc.bias': 'float32[2]'}
    >>> network.parameter_count
    10
    >>> [node.op.name for node in network.graph(seed=0)]
    ['mat_mul', 'add', 'relu']
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        self._check_inputs()
        _ = self._names

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Every parameter by its name, in the order of layers."""
        return {self._names.of(o): o for o in self._origins if isinstance(o, Parameter)}

    @property
    def named_inputs(self) -> Mapping[str, Tensor]:
        """The inputs by name, in order."""
        return {self._names.of(x.origin): x for x in self.inputs}

    @property
    def parameter_count(self) -> int:
        """The number of trainable numbers."""
        return sum(p.type.size for p in self.parameters.values() if p.trainable)

    @cached_property
    def flops(self) -> int:
        """Floating point operations of one run; a multiplication with an addition counts two."""
        return sum(s.op.flops(*(x.type for x in s.inputs)) for s in self._steps)

    def initial(self, seed: int = 0, scheme: str = "noticed") -> dict[str, Array]:
        """Return what every parameter holds at first.

        Args:
            seed: of what is drawn; a parameter depends on it and on its own name alone.
            scheme: ``noticed``: numbers of all parameters, biases and statistics of norms
                included, are drawn so that leaving one out changes results, which keep their
                size. ``training``: as one begins to train: He et al. for convolutions, Glorot
                et al. for linear layers, 0 for biases, 1 and 0 for scales and shifts of norms,
                0 and 1 for their means and variances.

        Raises:
            LayerError: there is no such scheme.
        """
        if scheme not in SCHEMES:
            raise LayerError(f"scheme={scheme!r} must be one of {', '.join(SCHEMES)}")
        first = {
            k: p.standard if scheme == "training" else p.initial for k, p in self.parameters.items()
        }
        return {k: i.draw(seed, k, self.parameters[k].type) for k, i in first.items()}

    def graph(self, seed: int = 0, weights: Mapping[str, Array] | None = None) -> Graph:
        """Return the canonical graph of the network.

        Args:
            seed: of the weights where none are given.
            weights: what the parameters hold, by name.

        Raises:
            LayerError: ``weights`` lacks a parameter, has another, or one of another type.
        """
        if weights is None:
            weights = self.initial(seed)
        else:
            self._check_weights(weights)
        return _Writer(self._names).graph(self, weights)

    @cached_property
    def _origins(self) -> tuple[Origin, ...]:
        """Everything that the outputs depend on, in the order in which it was described."""
        found: dict[Origin, None] = {}
        waiting = [x.origin for x in self.outputs.values()]
        while waiting:
            origin = waiting.pop()
            if origin not in found:
                found[origin] = None
                waiting.extend(x.origin for x in _sources(origin))
        ordered: dict[Origin, None] = {}
        for step in sorted((o for o in found if isinstance(o, Step)), key=lambda s: s.serial):
            ordered.update(dict.fromkeys(x.origin for x in step.inputs))
            ordered[step] = None
        return (*ordered, *(o for o in found if o not in ordered))

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(o for o in self._origins if isinstance(o, Step))

    @cached_property
    def _names(self) -> _Names:
        return _Names(self)

    def _check_inputs(self) -> None:
        if not self.outputs:
            raise LayerError(f"network '{self.name}': has no outputs")
        for x in self.inputs:
            if not isinstance(x.origin, Input):
                raise LayerError(f"network '{self.name}': {x} is no input; make it by nn.input")
        given = {x.origin for x in self.inputs}
        for origin in self._origins:
            if isinstance(origin, Input) and origin not in given:
                raise LayerError(
                    f"network '{self.name}': depends on input '{origin.name}', which is not "
                    "among its inputs; add it to them"
                )

    def _check_weights(self, weights: Mapping[str, Array]) -> None:
        unknown = sorted(weights.keys() - self.parameters.keys())
        if unknown:
            raise LayerError(f"network '{self.name}': has no parameter '{unknown[0]}'")
        for name, parameter in self.parameters.items():
            if name not in weights:
                raise LayerError(f"network '{self.name}': weights lack parameter '{name}'")
            if type_of(weights[name]) != parameter.type:
                raise LayerError(
                    f"network '{self.name}': parameter '{name}' is {parameter.type}, found "
                    f"{type_of(weights[name])}"
                )


def network(
    name: str, inputs: Iterable[Tensor], outputs: Mapping[str, Tensor] | Sequence[Tensor]
) -> Network:
    """Return the network from ``inputs`` to ``outputs``.

    Args:
        name: of the graph.
        inputs: every input that an output depends on; further ones are ignored when it runs.
        outputs: by name; without names, they are called as the layers that make them.

    Raises:
        LayerError: an input is missing, or two layers have one name.
    """
    if not isinstance(outputs, Mapping):
        outputs = {_default_name(x, k): x for k, x in enumerate(outputs)}
    return Network(name, tuple(inputs), dict(outputs))


def graph(
    name: str,
    inputs: Iterable[Tensor],
    outputs: Mapping[str, Tensor] | Sequence[Tensor],
    seed: int = 0,
) -> Graph:
    """Return the canonical graph of a network with seeded weights.

    Short for ``network(name, inputs, outputs).graph(seed)``.

    >>> from ranvier.frontend import builder as nn
    >>> x = nn.input("x", (1, 2))
    >>> print(nn.graph("g", [x], [nn.relu(x, name="y")]))
    graph @g(%x: float32[1, 2]) {
      %y: float32[1, 2] = relu(%x)
      return %y
    }
    <BLANKLINE>
    """
    return network(name, inputs, outputs).graph(seed)


def _default_name(x: Tensor, number: int) -> str:
    origin = x.origin
    if isinstance(origin, Step) and origin.layer.named and x.position == 0:
        return origin.layer.path
    return f"output{number}"


def _sources(origin: Origin) -> tuple[Tensor, ...]:
    return origin.inputs if isinstance(origin, Step) else ()


class _Names:
    """Gives every layer, step and parameter of a network a name of its own."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._owners: dict[str, str] = {}
        self._layers: dict[Layer, str] = {}
        self._results: dict[tuple[Origin, int], str] = {}
        origins = network._origins
        for x in network.inputs:
            assert isinstance(x.origin, Input)
            self._results[x.origin, 0] = self._claim(x.origin.name, f"input '{x.origin.name}'")
        layers = dict.fromkeys(o.layer for o in origins if isinstance(o, Step | Parameter))
        for layer in layers:
            if layer.named:
                self._layers[layer] = self._claim(layer.path, str(layer))
        for layer in layers:
            if not layer.named:
                self._layers[layer] = self._free(layer.path)
        for origin in origins:
            if isinstance(origin, Parameter):
                name = self._layers[origin.layer]
                if origin.role:
                    name = self._claim(f"{name}.{origin.role}", f"a parameter of {origin.layer}")
                self._results[origin, 0] = name
            elif isinstance(origin, Constant):
                self._results[origin, 0] = self._free("constant")
        self._name_results(origins)

    def of(self, origin: Origin, position: int = 0) -> str:
        """Return the name of a result."""
        return self._results[origin, position]

    def _name_results(self, origins: Sequence[Origin]) -> None:
        """Call the outputs as asked, a layer's last result as the layer, the others after it."""
        for name, x in self._network.outputs.items():
            self._name_output(name, x)
        last = {o.layer: o for o in origins if isinstance(o, Step)}
        for origin in origins:
            if isinstance(origin, Step):
                own = self._layers[origin.layer]
                stem = own if origin is last[origin.layer] else f"{own}.{origin.op.name}"
                self._number(origin, stem, own)

    def _name_output(self, name: str, x: Tensor) -> None:
        """Give an output's name to its value; one that has a name already will be copied."""
        key, origin = (x.origin, x.position), x.origin
        if isinstance(origin, Step) and origin.layer.named and origin.layer.path == name:
            self._results.setdefault(key, name)
        elif self._results.get(key) != name:
            self._results.setdefault(key, self._claim(name, f"output '{name}'"))

    def _number(self, step: Step, stem: str, own: str) -> None:
        for k in range(len(step.types)):
            name = stem if k == 0 else f"{stem}.{k}"
            if (step, k) not in self._results:
                self._results[step, k] = own if name == own else self._free(name)

    def _claim(self, name: str, owner: str) -> str:
        """Take exactly this name.

        Raises:
            LayerError: it is taken.
        """
        if name in self._owners:
            raise LayerError(
                f"network '{self._network.name}': {owner} and {self._owners[name]} have the "
                "same name; give one of them another, or put them into nn.scope"
            )
        self._owners[name] = owner
        return name

    def _free(self, name: str) -> str:
        """Take a name like this one."""
        unique, number = name, 0
        while unique in self._owners:
            number += 1
            unique = f"{name}_{number}"
        self._owners[unique] = unique
        return unique


class _Writer:
    """Writes the steps of a network as nodes."""

    def __init__(self, names: _Names) -> None:
        self._names = names
        self._parameters: dict[str, Array] = {}

    def graph(self, network: Network, weights: Mapping[str, Array]) -> Graph:
        """Return the graph; only parameters in use are kept."""
        nodes = [self._node(step, weights) for step in network._steps]
        outputs = []
        for name, x in network.outputs.items():
            value = self._value(x, weights)
            if value.name != name:  # an input, a parameter, or an output under a second name
                copy = Value(name, x.type)
                nodes.append(Node(ops.Reshape(x.shape), (value,), (copy,), name))
                value = copy
            outputs.append(value)
        inputs = tuple(self._value(x, weights) for x in network.inputs)
        return Graph(network.name, inputs, tuple(nodes), tuple(outputs), self._parameters)

    def _node(self, step: Step, weights: Mapping[str, Array]) -> Node:
        inputs = tuple(self._value(x, weights) for x in step.inputs)
        outputs = tuple(Value(self._names.of(step, k), t) for k, t in enumerate(step.types))
        return Node(step.op, inputs, outputs, step.layer.path)

    def _value(self, x: Tensor, weights: Mapping[str, Array]) -> Value:
        value = Value(self._names.of(x.origin, x.position), x.type)
        if isinstance(x.origin, Parameter):
            self._parameters[value.name] = weights[value.name]
        elif isinstance(x.origin, Constant):
            self._parameters[value.name] = x.origin.array
        return value
