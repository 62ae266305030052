"""The test vectors: torch and the compiled loop reproduce them, and the file is what `vectors.py` writes."""

import json

import pytest
import torch
import vectors
from reference import error

import riemlib as rl
from riemlib import engines
from riemlib.training import Ensemble

VECTORS = json.loads(vectors.FILE.read_text(encoding="utf-8"))
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
PRECISION = {torch.float64: 1e-12, torch.float32: 1e-5}
each_dtype = pytest.mark.parametrize("dtype", PRECISION, ids=str)


def tensors(lists, dtype):
    return [torch.tensor(each, dtype=dtype) for each in lists]


def build(vector, dtype):
    """The network of a vector, and its points."""
    given = {key: value for key, value in vector["network"].items() if key not in ("weights", "biases", "readout")}
    net = rl.CkNetwork(**given, dtype=dtype)
    with torch.no_grad():
        for name in ("weights", "biases"):
            for parameter, value in zip(getattr(net, name), tensors(vector["network"][name], dtype), strict=True):
                parameter.copy_(value)
        for parameter, value in zip(net.readout.parameters(), tensors(vector["network"]["readout"], dtype), strict=True):
            parameter.copy_(value)
    return net, torch.tensor(vector["x"], dtype=dtype), torch.tensor(vector["label"])


def expected(vector, name, dtype=torch.float64):
    return tensors(vector[name], dtype)


@each_vector
@each_dtype
def test_torch_reproduces_coordinates_and_metrics(vector, dtype):
    net, x, _ = build(vector, dtype)
    x.requires_grad_()  # so that torch computes, not the compiled loop
    found = rl.geometry(net, x)
    assert error([each.double() for each in found.x], expected(vector, "coordinates")) < PRECISION[dtype]
    assert error([each.double() for each in found.P], expected(vector, "pushforwards")) < PRECISION[dtype]
    assert error([each.double() for each in found.g], expected(vector, "metrics")) < PRECISION[dtype]


@each_vector
@each_dtype
def test_the_compiled_loop_reproduces_coordinates_and_metrics(vector, dtype):
    pytest.importorskip("numba")
    net, x, _ = build(vector, dtype)
    found = engines.sweep(net, x, ("x", "P", "g"))
    assert error([each.double() for each in found["x"]], expected(vector, "coordinates")) < PRECISION[dtype]
    pushforwards = [each.double() for each in found["P"]]
    assert error(pushforwards, expected(vector, "pushforwards")) < PRECISION[dtype]
    assert error([each.double() for each in found["g"]], expected(vector, "metrics")) < PRECISION[dtype]


@each_vector
@each_dtype
@pytest.mark.parametrize("engine", ["torch", "fused"])
def test_both_engines_reproduce_the_gradients(vector, dtype, engine):
    """What one update of gradient descent takes from the weights, over its rate."""
    if engine == "fused":
        pytest.importorskip("numba")
    net, x, label = build(vector, dtype)
    flat = torch.nn.utils.parameters_to_vector(net.parameters()).detach()[None]
    ensemble, rate = Ensemble(net, flat.clone()), 1024.0
    loss, _ = engines.Descent(x.mT.contiguous(), label, [0], len(x), [rate], 0.0, (), False).run(ensemble, engine, False)
    found = ensemble.networks((flat - ensemble.flat) / rate)[0]
    assert float(loss[0, 0]) == pytest.approx(vector["loss"], rel=PRECISION[dtype])
    for name, parameters in (("weights", found.weights), ("biases", found.biases), ("readout", [*found.readout.parameters()])):
        gradients = [parameter.detach().double() for parameter in parameters]
        assert error(gradients, tensors(vector["gradients"][name], torch.float64)) < PRECISION[dtype]


@each_vector
def test_eq_15_reproduces_the_gradients(vector):
    net, x, label = build(vector, torch.float64)
    found, names = rl.backpropagate(net, x, label), {id(parameter): name for name, parameter in net.named_parameters()}
    for group, parameters in (("weights", net.weights), ("biases", net.biases), ("readout", net.readout.parameters())):
        gradients = [found[names[id(parameter)]] for parameter in parameters]
        assert error(gradients, tensors(vector["gradients"][group], torch.float64)) < PRECISION[torch.float64]


def test_the_file_is_what_the_reference_computes():
    """Every number to 1e-12, and the same texts."""
    found = json.loads(json.dumps([vectors.vector(name, case) for name, case in vectors.CASES.items()]))
    assert [different for different in differences(found, VECTORS)] == []


def differences(a, b, where=""):
    """Where two nested lists and dictionaries differ."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for key in a:
            yield from differences(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif not (a == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) < 1e-12 * max(1, abs(b)))):
        yield where
