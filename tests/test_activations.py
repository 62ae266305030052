"""Activations: the four under every name they have, and nothing that is no pointwise function of fixed shape."""

import pytest
import torch
from torch import nn

import riemlib as rl
from riemlib.activations import ACTIVATIONS, SLOPES, name_of, pointwise

SAME = {
    "tanh": [torch.tanh, nn.Tanh(), nn.functional.tanh, torch.Tensor.tanh],
    "relu": [torch.relu, nn.ReLU(), nn.functional.relu, nn.ReLU(inplace=True)],
    "sigmoid": [torch.sigmoid, nn.Sigmoid(), nn.functional.sigmoid, torch.special.expit],
    "softplus": [nn.functional.softplus, nn.Softplus()],
}


@pytest.mark.parametrize("name", SAME)
def test_the_four_are_recognised_under_every_name(name):
    for same in SAME[name]:
        assert name_of(same) == name
        assert pointwise(same) is ACTIVATIONS[name]
        assert rl.certificates(rl.CkNetwork([2, 2], activation=same, step=0.1, seed=0)) == [True]


@pytest.mark.parametrize("other", [nn.Softplus(beta=2), nn.ELU(), torch.sin, lambda z: z**3])
def test_others_are_taken_as_they_are_and_have_no_certificate(other):
    assert pointwise(other) is other and name_of(other) is None
    with pytest.raises(ValueError, match="slopes are unknown"):
        rl.certificates(rl.CkNetwork([2, 2], activation=other, seed=0))


COUPLED = {
    "norm": lambda z: z / z.norm(),
    "mean": lambda z: z - z.mean(),
    "sort": lambda z: z.sort(-1).values,
    "largest": lambda z: z * z.abs().max(),
    "deviation": lambda z: torch.tanh(z) * z.std(correction=0),
    "softmax": lambda z: z.softmax(-1),
    "flip": lambda z: z.flip(-1),
    "dropout": nn.Dropout(0.5),
    "random": lambda z: z * torch.rand(z.shape),
    "the largest of all": lambda z: torch.tanh(z) + 0 * z + (z.max() > 4).to(z) * z,
    "rows": lambda z: z - z.mean(0, keepdim=True),
    "running sum": lambda z: z.cumsum(-1),
}


@pytest.mark.parametrize("name", COUPLED)
def test_what_mixes_entries_is_refused(name):
    with pytest.raises(ValueError, match="does not act on each entry by itself"):
        rl.CkNetwork([2, 2], activation=COUPLED[name])


def test_a_module_with_parameters_is_refused_and_stays_as_it_is():
    module = nn.PReLU(init=0.3)
    with pytest.raises(ValueError, match="has parameters of its own"):
        rl.CkNetwork([2, 2], activation=module)
    assert float(module.weight.detach()) == pytest.approx(0.3)


def test_other_things_are_refused(untyped):
    with pytest.raises(ValueError, match="changes the shape"):
        rl.CkNetwork([2, 2], activation=lambda z: z.sum())
    for other in (lambda z: z > 0, lambda z: z.double(), lambda z: z.tolist(), lambda z: z[None]):
        with pytest.raises(ValueError, match="changes the shape or dtype"):
            rl.CkNetwork([2, 2], activation=other)
    for wrong in (3, None, nn.Tanh):
        with pytest.raises(TypeError, match="activation is"):
            rl.CkNetwork([2, 2], activation=wrong)
    with pytest.raises(ValueError, match="one of tanh, relu, sigmoid, softplus"):
        rl.CkNetwork([2, 2], activation="gelu")


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_are_those_of_the_function(name):
    z = torch.linspace(-30, 30, 20001, dtype=torch.float64)
    slope = torch.func.vmap(torch.func.grad(ACTIVATIONS[name]))(z)
    assert float(slope.max()) == pytest.approx(SLOPES[name].largest, abs=1e-6) and float(slope.min()) >= 0
    assert SLOPES[name].strict == (float(slope[(z > -5) & (z < 5)].min()) > 0)
