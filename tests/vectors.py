"""Test vectors: networks, points, and what must come of them, for every implementation of the recursion.

    python tests/vectors.py        writes tests/vectors.json

The recursion exists in torch, in the compiled loop, and wherever else somebody writes it down. The numbers are made by `reference`, which
shares no code with riemlib: the recursion entry by entry, and automatic differentiation of it, in float64. `vectors.json` is a list. Each
entry holds a network (widths, order and step of each layer, activation, weights, biases, readout), points and labels; the coordinates
x^(l) (layers, points, d_l); the pushforwards P from the state at layer l to x^(L) (layers, points, d_L, s_l); the metrics P^T P; the mean
cross-entropy of the labels, and its gradients by weights, biases and readout.
"""

import json
from pathlib import Path

import reference
import torch

FILE = Path(__file__).parent / "vectors.json"
CASES = {
    "C0": dict(widths=[2] * 4, order=0),
    "C1": dict(widths=[2] * 4, order=1, step=0.7),
    "C2": dict(widths=[2] * 4, order=2, step=[0.5, 0.8, 0.4]),
    "order 3": dict(widths=[2] * 5, order=3, step=0.6),
    "identity left out": dict(widths=[2] * 5, order=[1, 1, 0, 1]),
    "shared": dict(widths=[2] * 4, order=1, step=0.5, shared=True),
    "ReLU": dict(widths=[3] * 4, order=1, activation="relu", classes=3),
    "sigmoid": dict(widths=[2] * 4, order=2, activation="sigmoid"),
    "softplus": dict(widths=[2] * 4, order=1, activation="softplus"),
    "changing width": dict(widths=[2, 3, 3, 1, 4], order=[0, 2, 0, 0]),
}


def vector(name: str, case: dict) -> dict:
    """One entry of the file."""
    net = reference.network(seed=len(name), **case)
    x = reference.points(3, case["widths"][0], seed=len(name))
    label = torch.arange(3) % case.get("classes", 2)
    entries = [x]
    for W, b, order, step in zip(net.weights, net.biases, net.orders, net.steps, strict=True):
        entries = reference.layer(entries, W, b, net.by_hand, order, step)
    logits = entries[0] @ net.readout.weight.mT + net.readout.bias
    loss = -torch.log_softmax(logits, 1)[torch.arange(3), label].mean()
    parameters = [*net.parameters()]
    gradients = dict(zip((id(p) for p in parameters), torch.autograd.grad(loss, parameters), strict=True))
    groups = {"weights": [*net.weights], "biases": [*net.biases], "readout": [net.readout.weight, net.readout.bias]}
    return {
        "name": name,
        "network": {
            "widths": list(net.widths),
            "order": list(net.orders),
            "step": list(net.steps),
            "activation": case.get("activation", "tanh"),
            "shared": net.shared,
            "classes": case.get("classes", 2),
            **{group: [p.tolist() for p in each] for group, each in groups.items()},
        },
        "x": x.tolist(),
        "label": label.tolist(),
        "coordinates": [each.tolist() for each in reference.coordinates(net, x)],
        "pushforwards": [each.tolist() for each in reference.pushforwards(net, x)],
        "metrics": [each.tolist() for each in reference.metrics(net, x)],
        "loss": loss.item(),
        "gradients": {group: [gradients[id(p)].tolist() for p in each] for group, each in groups.items()},
    }


def write(file: Path = FILE) -> None:
    """Writes all entries."""
    file.write_text(json.dumps([vector(name, case) for name, case in CASES.items()], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
