# SPDX-License-Identifier: MIT
"""With the weights of a reference implementation, models of the zoo compute what it does.

The references are torch, MONAI and transformers, each compared where it is installed.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ranvier.frontend import zoo
from ranvier.ir import Array, interpret


def module(name: str) -> Any:
    """Return a module of a reference, or skip the test where it is not installed."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name.partition('.')[0]} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


@dataclass(frozen=True)
class Reference:
    """A model of the zoo and how to make its reference.

    Attributes:
        options: of the model.
        make: returns the reference.
        inputs: returns what both get, in order.
    """

    options: Mapping[str, int]
    make: Callable[[], Any]
    inputs: Callable[[np.random.Generator], list[Array]]


def volume(size: int) -> Callable[[np.random.Generator], list[Array]]:
    return lambda rng: [rng.standard_normal((1, 1, size, size, size)).astype(np.float32)]


def words(rng: np.random.Generator) -> list[Array]:
    mask = np.ones((2, 16), np.int64)
    mask[1, 10:] = 0
    return [rng.integers(0, 100, (2, 16)), mask, rng.integers(0, 2, (2, 16))]


def tokens(rng: np.random.Generator) -> list[Array]:
    return [rng.integers(0, 50, (2, 8))]


def dynunet() -> Any:
    strides = [[1] * 3, *[[2] * 3] * 5]
    make = module("monai.networks.nets").DynUNet
    return make(3, 1, 2, [[3] * 3] * 6, strides, strides[1:], filters=[4, 8, 16, 32, 40, 40])


def unetr() -> Any:
    make = module("monai.networks.nets").UNETR
    return make(1, 14, (32,) * 3, feature_size=4, hidden_size=128, mlp_dim=512, num_heads=2)


def bert() -> Any:
    library = module("transformers")
    config = library.BertConfig(
        vocab_size=100,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
    )
    return library.BertModel(config)


def recurrent(kind: str) -> Any:
    torch = module("torch")

    class Classifier(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(50, 16)
            layers = getattr(torch.nn, kind)
            self.rnn = layers(16, 16, 2, bidirectional=True, batch_first=True)
            self.fc = torch.nn.Linear(32, 2)

        def forward(self, x: Any) -> Any:
            _, states = self.rnn(self.embedding(x))
            last = states[0] if isinstance(states, tuple) else states
            return self.fc(torch.cat([last[-2], last[-1]], 1))

    return Classifier()


REFERENCES: dict[str, Reference] = {
    "segresnet3d": Reference(
        {"size": 16, "width": 8},
        lambda: module("monai.networks.nets").SegResNet(3, init_filters=8),
        volume(16),
    ),
    "dynunet3d": Reference({"size": 64, "width": 4}, dynunet, volume(64)),
    "unetr3d": Reference({"size": 32, "width": 4, "hidden": 128}, unetr, volume(32)),
    "bert_base": Reference(
        {"batch": 2, "length": 16, "width": 128, "layers": 2, "vocabulary": 100}, bert, words
    ),
    "lstm_classifier": Reference(
        {"batch": 2, "length": 8, "width": 16, "vocabulary": 50}, lambda: recurrent("LSTM"), tokens
    ),
    "gru_classifier": Reference(
        {"batch": 2, "length": 8, "width": 16, "vocabulary": 50}, lambda: recurrent("GRU"), tokens
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_model_computes_what_its_reference_does(name: str) -> None:
    torch, reference = module("torch"), REFERENCES[name]
    torch.manual_seed(0)
    model = reference.make().eval()
    inputs = reference.inputs(np.random.default_rng(0))
    with torch.no_grad():
        for parameter in model.parameters():  # so that no scale is 1 and no bias 0
            parameter.add_(0.05 * torch.randn(parameter.shape))
        expected = model(*map(torch.from_numpy, inputs))
    if not isinstance(expected, torch.Tensor):
        expected = [expected.last_hidden_state, expected.pooler_output]
    else:
        expected = [expected]
    network = zoo.network(name, **reference.options)
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    weights = {k: weight(state, k, p.type.dims) for k, p in network.parameters.items()}
    results = interpret(network.graph(weights=weights), inputs)
    for a, e in zip(results, expected, strict=True):
        assert np.abs(a - e.numpy()).max() < 1e-5 * np.abs(e.numpy()).max()


def weight(state: Mapping[str, Array], name: str, dims: tuple[int, ...]) -> Array:
    """Return a parameter of ours from PyTorch's of the same name."""
    cell = re.match(r"(lstm|gru)\.(\d)\.(backward\.)?(weight|recurrent|bias)$", name)
    if cell:
        return of_cell(state, *cell.groups())
    array = state[re.sub(r"\.scale$", ".weight", name)]
    if array.ndim == 2 and "embedding" not in name:
        array = array.T
    return np.ascontiguousarray(array.reshape(dims))


def of_cell(
    state: Mapping[str, Array], kind: str, layer: str, back: str | None, role: str
) -> Array:
    """Return a recurrent parameter; PyTorch has the gates i, f, g, o and r, z, n."""
    suffix = f"_l{layer}" + ("_reverse" if back else "")
    order = (0, 3, 1, 2) if kind == "lstm" else (1, 0, 2)

    def gates(part: str) -> Array:
        rows = np.split(state[f"rnn.{part}{suffix}"], len(order))
        return np.concatenate([rows[k] for k in order])

    if role == "bias":
        return np.concatenate([gates("bias_ih"), gates("bias_hh")])
    return gates("weight_ih" if role == "weight" else "weight_hh")
