"""Bad input is refused at the door: a ValueError, or a TypeError for a type, that names the argument, what was given and what is needed."""

import numpy as np
import pytest
import torch
from reference import network, points
from safetensors import safe_open
from safetensors.torch import save_file

import riemlib as rl
from riemlib import bundles, charts, curvature, curves, limits
from riemlib.checks import is_true_or_unknown
from riemlib.ellipsoids import balls_of, condition_number, log_volume

pytestmark = pytest.mark.usefixtures("untyped")  # riemlib's own refusals, not those of the run-time type check

NAN, INF = float("nan"), float("inf")
X = points(5, 2)


def net(**changes):
    return network(**{"widths": [2, 2, 2, 2], **changes})


def metric(*rows):
    return torch.tensor([rows] * 5, dtype=torch.float64)


def induced(eta):
    return rl.pullback_metrics(net(), X, eta)


def of_sine(eta):
    return rl.pullback_metric(torch.sin, X, eta)


def train(of=None, sample=None, **changes):
    sample = rl.spiral(20, dtype=torch.float64) if sample is None else sample
    settings = dict(seeds=[0], batch_size=10, updates=2, learning_rate=1e-2, progress=False)
    return rl.fit(of or net(), sample, **{**settings, **changes})


def sample(x=None, label=None):
    good = rl.spiral(20, dtype=torch.float64)
    return rl.Sample(good.x if x is None else x, good.label if label is None else label, good.position)


def preimages(W, **settings):
    return charts.relu_preimages(W, torch.zeros(1), torch.ones(1, 1), **settings)


W2, W3, B3 = torch.eye(2), torch.ones(3, 2), torch.zeros(3)
EYE, ONES, FRAME = torch.eye(2), torch.ones(2, 2), torch.eye(2).expand(3, 2, 2)
FIELD = limits.smooth_field(2, seed=0)
given = rl.CkNetwork.from_weights


def at(x, where, value):
    x = x.clone()
    x[where] = value
    return x


# name -> (call, error, what the message names, what it says was given, what it says is needed)
REFUSED = {
    "no points": (lambda: net()(torch.zeros(0, 2).double()), ValueError, "x", r"\(0, 2\)", "at least one point"),
    "NaN": (lambda: net().coordinates(at(X, (1, 1), NAN)), ValueError, "x", "not finite", "finite"),
    "infinity": (lambda: net().states(at(X, (0, 0), INF)), ValueError, "x", "not finite", "finite"),
    "wide points": (lambda: net()(points(5, 3)), ValueError, "x", r"\(5, 3\)", r"\(n, 2\)"),
    "one point": (lambda: net()(X[0]), ValueError, "x", r"\(2,\)", r"\(n, 2\)"),
    "three axes": (lambda: net()(X[None]), ValueError, "x", r"\(1, 5, 2\)", r"\(n, 2\)"),
    "array": (lambda: net()(X.numpy()), TypeError, "x", "ndarray", "tensor"),
    "list": (lambda: net()([[0.0, 1.0]]), TypeError, "x", "list", "tensor"),
    "integers": (lambda: net()(torch.zeros(5, 2, dtype=torch.int64)), TypeError, "x", "int64", "torch.float32 or torch.float64"),
    "other dtype": (lambda: net()(X.float()), TypeError, "x", "float32", "float64"),
    # networks
    "no layer": (lambda: net(widths=[2]), ValueError, "widths", r"\[2\]", "at least one layer"),
    "width 0": (lambda: net(widths=[2, 0]), ValueError, "widths", "0", "at least 1"),
    "width 2.5": (lambda: net(widths=[2, 2.5]), TypeError, "widths", "2.5", "integer"),
    "one width": (lambda: net(widths=2), TypeError, "widths", "2", "integers"),
    "residual width": (lambda: net(widths=[2, 2, 3]), ValueError, "widths", "2 to 3 at layer 2.*order 1", "order 0"),
    "width at order 2": (lambda: net(widths=[3, 2], order=2), ValueError, "widths", "3 to 2 at layer 1.*order 2", "order 0"),
    "shared width": (lambda: net(widths=[2, 3], order=0, shared=True), ValueError, "widths", "2 to 3 at layer 1.*shared", "order 0"),
    "order -1": (lambda: net(order=-1), ValueError, "order", "-1", "at least 0"),
    "order 1.5": (lambda: net(order=1.5), TypeError, "order", "1.5", "integer"),
    "order True": (lambda: net(order=True), TypeError, "order", "True", "integer"),
    "order by name": (lambda: net(order="two"), TypeError, "order", "'t'|'two'", "integer"),
    "orders short": (lambda: net(order=[1, 1]), ValueError, "order", "2 entries", "3 layers"),
    "step 0": (lambda: net(step=0), ValueError, "step", "0", "positive"),
    "step negative": (lambda: net(step=[1, 1, -0.5]), ValueError, "step", "-0.5", "positive"),
    "step NaN": (lambda: net(step=NAN), ValueError, "step", "nan", "finite"),
    "step infinite": (lambda: net(step=[1, INF, 1]), ValueError, "step", "inf", "finite"),
    "shared by a number": (lambda: net(shared=1), TypeError, "shared", "1", "True or False"),
    "orders in a sparse tensor": (lambda: net(order=torch.eye(3).to_sparse()), TypeError, "order", "sparse", "numbers that can be read"),
    "widths beyond 64 bits": (lambda: net(widths=[2, 2**64]), ValueError, "widths", "18446744073709551616", "64 bits"),
    "step text": (lambda: net(step=[1, "1", 1]), TypeError, "step", "'1'", "number"),
    "partition long": (lambda: net(step=[0.1] * 4), ValueError, "step", "4 entries", "3 layers"),
    "activation": (lambda: net(activation="swish"), ValueError, "activation", "swish", "tanh, relu, sigmoid, softplus"),
    "activation None": (lambda: net(activation=None), TypeError, "activation", "None", "callable"),
    "activation shape": (lambda: net(activation=torch.sum), ValueError, "activation", "sum", "pointwise"),
    "activation list": (lambda: net(activation=["tanh"]), TypeError, "activation", "tanh", "callable"),
    "one class": (lambda: net(classes=1), ValueError, "classes", "1", "at least 2"),
    # parts of networks, and networks of given weights
    "one layer": (lambda: net()[1], TypeError, "layers", "1", "a range of layers a:b"),
    "every other layer": (lambda: net()[::2], TypeError, "layers", r"slice\(None, None, 2\)", "a range of layers a:b"),
    "layers by name": (lambda: net()["a"], TypeError, "layers", "'a'", "a range of layers a:b"),
    "a part without layers": (lambda: net()[2:2], ValueError, "layers", "2:2", "0 <= a < b <= 3"),
    "a part backwards": (lambda: net()[2:1], ValueError, "layers", "2:1", "0 <= a < b <= 3"),
    "a part beyond the end": (lambda: net()[1:4], ValueError, "layers", "1:4", "0 <= a < b <= 3"),
    "a part from the end": (lambda: net()[-1:], ValueError, "a", "-1", "at least 0"),
    "a part to half a layer": (lambda: net()[:1.5], TypeError, "b", "1.5", "integer"),
    "a part at a wrong state": (lambda: net(order=2)[1:](X), ValueError, "x", r"\(5, 2\)", r"\(n, 4\)"),
    "a bias of another width": (lambda: given([W2], [torch.zeros(3)]), ValueError, "weights or biases", r"\(3,\)", r"\(2,\) is needed"),
    "a bias that would spread": (lambda: given([W2], [torch.zeros(1)]), ValueError, "weights or biases", r"\(1,\)", r"\(2,\) is needed"),
    "layers apart": (lambda: given([W3, W3], [B3, B3], order=0), ValueError, "weights or biases", r"\(3, 2\)", r"\(3, 3\) is needed"),
    "a width that changes": (lambda: given([W3], [B3], order=1), ValueError, "widths", "2 to 3 at layer 1.*order 1", "order 0"),
    "biases apart": (lambda: given([EYE] * 2, [EYE[0], EYE[1]], shared=True), ValueError, "weights or biases", "differ", "the same"),
    "weights of two dtypes": (
        lambda: given([EYE], [EYE[0].double()]),
        TypeError,
        "weights or biases",
        "float64.*float32",
        r"\.to\(dtype\)",
    ),
    "no weights": (lambda: given(None, [EYE[0]]), TypeError, "weights", "NoneType", "a sequence of tensors"),
    "weights that are lists": (lambda: given([[[1.0]]], [[0.0]]), TypeError, "weights", "list", "torch tensor"),
    "weights NaN": (lambda: given([NAN * EYE], [EYE[0]]), ValueError, "weights", "not finite", "finite"),
    "parameters too few": (lambda: net().with_parameters(torch.zeros(3)), ValueError, "flat", r"\(?\[?3", r"\(24,\)"),
    "parameters in an array": (lambda: net().with_parameters(np.zeros(24)), ValueError, "flat", "ndarray", "a tensor"),
    "seed too large": (lambda: net().redraw(2**32), ValueError, "seed", "4294967296", "below 2³¹"),
    "seed of a network": (lambda: rl.CkNetwork([2, 2], seed=1.0), TypeError, "seed", "1.0", "integer"),
    "integer network": (lambda: rl.CkNetwork([2, 2], dtype=torch.int64), ValueError, "dtype", "int64", "torch.float32 or torch.float64"),
    "half network": (lambda: rl.CkNetwork([2, 2], dtype=torch.float16), ValueError, "dtype", "float16", "torch.float32 or torch.float64"),
    "complex network": (lambda: rl.CkNetwork([2, 2], dtype=torch.complex64), ValueError, "dtype", "complex64", "torch.float32"),
    "device of no kind": (lambda: rl.CkNetwork([2, 2], device="gpu"), ValueError, "device", "'gpu'", "'cpu' or 'cuda'"),
    "device by number": (lambda: rl.CkNetwork([2, 2], device=2.5), ValueError, "device", "2.5", "'cpu' or 'cuda'"),
    "device elsewhere": (lambda: rl.CkNetwork([2, 2], device="mps"), ValueError, "device", "'mps'", "that is there"),
    "loaded to nowhere": (lambda: rl.CkNetwork.load("net.safetensors", device="gpu"), ValueError, "device", "'gpu'", "'cpu' or 'cuda'"),
    "step beyond its square": (lambda: net(step=1e200, order=2), ValueError, "step", "1e\\+200", r"at most 1e\+150"),
    "step of 400 digits": (lambda: net(step=10**400), ValueError, "step", "inf", "finite"),
    # spirals
    "integer spiral": (lambda: rl.spiral(5, dtype=torch.int64), ValueError, "dtype", "int64", "torch.float32 or torch.float64"),
    "complex spiral": (lambda: rl.spiral(5, dtype=torch.complex128), ValueError, "dtype", "complex128", "torch.float32 or torch.float64"),
    "half annulus": (lambda: rl.annulus(5, dtype=torch.float16), ValueError, "dtype", "float16", "torch.float32 or torch.float64"),
    "seed of a spiral": (lambda: rl.spiral(5, seed=2**31), ValueError, "seed", "2147483648", "below 2³¹"),
    "seed of an annulus": (lambda: rl.annulus(5, seed=-1), ValueError, "seed", "-1", "at least 0"),
    "seed of a field": (lambda: limits.smooth_field(2, seed=2**32), ValueError, "seed", "4294967296", "below 2³¹"),
    "seed of group elements": (lambda: bundles.group_elements(1, 2, seed=2**32), ValueError, "seed", "4294967296", "below 2³¹"),
    "positions": (lambda: rl.spiral(5, positions="uniform"), ValueError, "positions", "'uniform'", "'even' or 'random'"),
    "device of a spiral": (lambda: rl.spiral(5, device="cuda:99"), ValueError, "device", "cuda:99", "one that is there"),
    "turns beyond numbers": (lambda: rl.spiral(5, turns=1e308), ValueError, "turns", "1e\\+308", "finite"),
    "polar in space": (lambda: rl.polar(rl.Sample(points(5, 3), torch.zeros(5).long())), ValueError, "x", r"\(5, 3\)", r"\(n, 2\)"),
    "polar of points": (lambda: rl.polar(X), TypeError, "sample", "Tensor", "a Sample"),
    "too few": (lambda: rl.spiral(2, arms=3), ValueError, "n", "2", "at least 3"),
    "points 1.5": (lambda: rl.spiral(1.5), TypeError, "n", "1.5", "integer"),
    "no arm": (lambda: rl.spiral(5, arms=0), ValueError, "arms", "0", "at least 1"),
    "turns": (lambda: rl.spiral(5, turns=-1.0), ValueError, "turns", "-1", "non-negative"),
    "turns NaN": (lambda: rl.spiral(5, turns=NAN), ValueError, "turns", "nan", "finite"),
    "noise": (lambda: rl.spiral(5, noise=-0.1), ValueError, "noise", "-0.1", "non-negative"),
    "annulus of one point": (lambda: rl.annulus(1), ValueError, "n", "1", "at least 2"),
    "annulus of 2.5 points": (lambda: rl.annulus(2.5), TypeError, "n", "2.5", "integer"),
    "disc beyond": (lambda: rl.annulus(5, disc=0.7), ValueError, "disc, inner and outer", r"\[0.7, 0.7, 1.0\]", "increasing"),
    "annulus inside out": (lambda: rl.annulus(5, outer=0.6), ValueError, "disc, inner and outer", r"\[0.5, 0.7, 0.6\]", "increasing"),
    "disc 0": (lambda: rl.annulus(5, disc=0), ValueError, "disc", "0", "positive"),
    "outer infinite": (lambda: rl.annulus(5, outer=INF), ValueError, "outer", "inf", "finite"),
    "inner text": (lambda: rl.annulus(5, inner="0.7"), TypeError, "inner", "'0.7'", "number"),
    # metrics
    "layer": (lambda: rl.pushforward(net(), X, 4), ValueError, "layer", "4", "0 to 3"),
    "layer -1": (lambda: rl.pushforward(net(), X, -1), ValueError, "layer", "-1", "at least 0"),
    "eta shape": (lambda: induced(torch.eye(3).double()), ValueError, "output_metric", r"\(3, 3\)", r"2, 2\)"),
    "eta points": (lambda: induced(metric([1, 0], [0, 1])[:4]), ValueError, "output_metric", r"\(4, 2, 2\)", r"\(5, 2, 2\)"),
    "eta skew": (lambda: induced(metric([1, 1], [0, 1])), ValueError, "output_metric", "not symmetric", "g_ab = g_ba"),
    "eta negative": (lambda: induced(metric([1, 2], [2, 1])), ValueError, "output_metric", "-1", "none below 0"),
    "eta NaN": (lambda: induced(metric([1, NAN], [NAN, 1])), ValueError, "output_metric", "not finite", "finite"),
    "eta array": (lambda: induced(np.eye(2)), TypeError, "output_metric", "ndarray", "tensor"),
    "eta integers": (lambda: induced(torch.eye(2).long()), TypeError, "output_metric", "int64", "torch.float32 or torch.float64"),
    "eta of a callable": (lambda: of_sine(metric([1, 2], [2, 1])), ValueError, "output_metric", "-1", "none below 0"),
    "eta of another width": (lambda: of_sine(torch.eye(3).double()), ValueError, "output_metric", r"\(3, 3\)", r"2, 2\)"),
    "points of a callable": (lambda: rl.pullback_metric(torch.sin, at(X, (0, 0), NAN)), ValueError, "x", "not finite", "finite"),
    "jacobians": (lambda: rl.jacobians(net(), points(5, 3)), ValueError, "x", r"\(5, 3\)", r"\(n, 2\)"),
    "g not square": (lambda: rl.squared_length(torch.ones(5, 2, 3), X), ValueError, "g", r"\(5, 2, 3\)", r"\(\.\.\., d, d\)"),
    "g skew": (lambda: rl.squared_length(metric([1, 1], [0, 1]), X), ValueError, "g", "not symmetric", "g_ab = g_ba"),
    "g for other points": (lambda: rl.squared_length(metric([1, 0], [0, 1]), X[:3]), ValueError, "dx", r"\(3, 2\).*\(5, 2, 2\)", "needed"),
    "dx NaN": (lambda: rl.squared_length(metric([1, 0], [0, 1]), at(X, (0, 0), NAN)), ValueError, "dx", "not finite", "finite"),
    "radius 0": (lambda: rl.balls(metric([1, 0], [0, 1]), 0), ValueError, "radius", "0", "positive"),
    "radius negative": (lambda: rl.balls(metric([1, 0], [0, 1]), -1.0), ValueError, "radius", "-1", "positive"),
    "radius text": (lambda: rl.balls(metric([1, 0], [0, 1]), "1"), TypeError, "radius", "'1'", "number"),
    "ball of no metric": (lambda: rl.balls(metric([1, 2], [2, 1]), 1.0), ValueError, "g", "-1", "none below 0"),
    "condition of no metric": (lambda: condition_number(metric([1, 2], [2, 1])), ValueError, "g", "-1", "none below 0"),
    "volume of no metric": (lambda: log_volume(metric([1, 1], [0, 1])), ValueError, "g", "not symmetric", "g_ab = g_ba"),
    "ball skew": (lambda: rl.balls(metric([1, 1], [0, 1]), 1.0), ValueError, "g", "not symmetric", "g_ab = g_ba"),
    "eta of a geometry": (lambda: rl.geometry(net(), X, metric([1, 2], [2, 1])), ValueError, "output_metric", "-1", "none below 0"),
    "points of a geometry": (lambda: rl.geometry(net(), points(5, 3)), ValueError, "x", r"\(5, 3\)", r"\(n, 2\)"),
    "radius of a geometry": (lambda: rl.geometry(net(), X).balls(0.0), ValueError, "radius", "0.0", "positive"),
    "P of no matrix": (lambda: balls_of(torch.ones(2), 1.0), ValueError, "P", r"\(2,\)", r"\(n, r, d\)"),
    "P of no point": (lambda: balls_of(torch.ones(0, 2, 2), 1.0), ValueError, "P", r"\(0, 2, 2\)", "at least one point"),
    "P NaN": (lambda: balls_of(torch.full((1, 2, 2), NAN), 1.0), ValueError, "P", "not finite", "finite"),
    "P array": (lambda: balls_of(np.ones((1, 2, 2)), 1.0), TypeError, "P", "ndarray", "tensor"),
    "radius of a Jacobian": (lambda: balls_of(torch.ones(1, 2, 2), -1.0), ValueError, "radius", "-1.0", "positive"),
    "dx of another dtype": (
        lambda: rl.squared_length(metric([1, 0], [0, 1]), X.float()),
        TypeError,
        "dx",
        "float32, g torch.float64",
        "to",
    ),
    "eta of another dtype": (lambda: induced(torch.eye(2)), TypeError, "output_metric", "float32, the outputs torch.float64", "to"),
    "eta of a function": (lambda: induced(lambda y: y), ValueError, "output_metric", r"\(5, 2\)", r"2, 2\)"),
    "points of half precision": (lambda: net()(X.half()), TypeError, "x", "float16", "torch.float32 or torch.float64"),
    "points of complex numbers": (lambda: net()(X.to(torch.complex128)), TypeError, "x", "complex128", "torch.float32 or torch.float64"),
    "sparse points": (lambda: net()(X.to_sparse()), TypeError, "x", "sparse", r"x.to_dense\(\)"),
    "the geometry of a module": (lambda: rl.geometry(torch.nn.Linear(2, 2), X), TypeError, "net", "Linear", "pullback_metric"),
    "the Jacobians of a function": (lambda: rl.jacobians(torch.sin, X), TypeError, "net", "builtin", "pushforward_of"),
    "the pushforward of no network": (lambda: rl.pushforward(None, X), TypeError, "net", "NoneType", "CkNetwork"),
    "no map": (lambda: rl.pullback_metric(3, X), TypeError, "f", "int", "a function or module"),
    "a complex map": (lambda: rl.pushforward_of(lambda x: x * 1j, X), TypeError, "f", "complex128", "one real number"),
    "outline at order 2": (lambda: rl.geometry(net(order=2), X).balls(1.0)[1].outline(X), ValueError, "centres", r"\(5, 4\)", "plane"),
    "outline in space": (
        lambda: rl.balls(torch.eye(3).expand(5, 3, 3), 1.0).outline(X.float()),
        ValueError,
        "centres",
        r"\(5, 3\)",
        "plane",
    ),
    "outline about other points": (
        lambda: rl.balls_of(FRAME, 1.0).outline(X.float()),
        ValueError,
        "centres",
        r"\(5, 2\).*\(3, 2\)",
        "for both",
    ),
    "outline about space": (lambda: rl.balls_of(FRAME, 1.0).outline(torch.ones(3, 3)), ValueError, "centres", r"\(3, 3\)", r"\(n, 2\)"),
    "radius of 400 digits": (lambda: rl.balls_of(FRAME, 10**400), ValueError, "radius", "inf", "finite"),
    # charts
    "certificates of a module": (lambda: rl.certificates(torch.nn.Linear(2, 2)), TypeError, "net", "Linear", "CkNetwork"),
    "the chart of a function": (lambda: rl.is_chart(torch.sin), TypeError, "net", "builtin", "CkNetwork"),
    "minors not square": (lambda: charts.principal_minors(torch.zeros(2, 3)), ValueError, "M", r"\(2, 3\)", r"\(..., d, d\)"),
    "minors too many": (lambda: charts.principal_minors(torch.zeros(13, 13)), ValueError, "M", r"\(13, 13\)", "d from 1 to 12"),
    "minors NaN": (lambda: charts.is_p_matrix(torch.tensor([[NAN]])), ValueError, "M", "not finite", "finite"),
    "slopes unknown": (lambda: charts.certificates(net(activation=torch.sin)), ValueError, "activation", "sin", "one of tanh, relu"),
    "pieces of a singular W": (
        lambda: charts.points_on_pieces(torch.zeros(2, 2), torch.zeros(2)),
        ValueError,
        "W",
        "singular",
        "invertible",
    ),
    "a singular piece": (lambda: preimages(-torch.ones(1, 1)), ValueError, "a linear piece", "singular", "without singular pieces"),
    "preimages with a step": (lambda: preimages(torch.ones(1, 1), step=-1.0), ValueError, "step", "-1.0", "positive"),
    "preimages of other width": (lambda: charts.preimages(net(), X[0, :1], reach=1.0), ValueError, "y", r"\(1,\).*2 to 2", "one width"),
    "preimages within 0": (lambda: charts.preimages(net(), X[0], reach=0.0), ValueError, "reach", "0.0", "positive"),
    "one neighbour": (lambda: charts.local_dimension(X, neighbours=1), ValueError, "neighbours", "1", "2 to 5"),
    "neighbours beyond": (lambda: charts.local_dimension(X, neighbours=6), ValueError, "neighbours", "6", "2 to 5"),
    "image of side 6": (lambda: charts.rotated_images(np.zeros((6, 6)), [0]), ValueError, "image", r"\(6, 6\)", "side divisible by 4"),
    "image not square": (lambda: charts.rotated_images(np.zeros((8, 4)), [0]), ValueError, "image", r"\(8, 4\)", r"\(side, side\)"),
    # limits
    "partition": (lambda: limits.partition(4, "even"), ValueError, "kind", "'even'", "uniform, graded, root, random or half start"),
    "partition of nothing": (lambda: limits.partition(0), ValueError, "depth", "0", "at least 1"),
    "two errors": (lambda: limits.local_order([1.0] * 2, [1.0] * 2), ValueError, "steps", "2", "at least three"),
    "errors short": (lambda: limits.local_orders([1.0] * 4, [1.0] * 3), ValueError, "steps", "4 entries, errors 3", "as many"),
    "an error of 0": (lambda: limits.local_orders([1.0] * 4, [1, 1, 1, 0]), ValueError, "errors", "0", "positive finite"),
    "positions back": (lambda: limits.solve(*FIELD, X, at=[0.5, 0.2]), ValueError, "at", r"\[0.5, 0.2\]", "increasing"),
    "equation of order 0": (lambda: limits.solve(*FIELD, X, order=0), ValueError, "order", "0", "at least 1"),
    "a field for shared weights": (lambda: limits.sample_weights(net(shared=True), *FIELD), ValueError, "net", "shares", "its own"),
    "a field of other width": (lambda: limits.sample_weights(net(widths=[3] * 4), *FIELD), ValueError, "W", r"\(3, 2, 2\)", r"\(3, 3, 3\)"),
    "implicit at order 2": (lambda: limits.implicit(net(order=2)), ValueError, "net", r"\(2, 2, 2\)", "order 1"),
    "adjoint forward": (lambda: limits.adjoint(*FIELD, X, X, at=(0.0, 0.5)), ValueError, "at", r"\[0.0, 0.5\]", "decreasing"),
    "adjoint of other points": (lambda: limits.adjoint(*FIELD, X, X[:2]), ValueError, "p", r"\(2, 2\), x \(5, 2\)", "one covector"),
    # bundles
    "h singular": (lambda: rl.act_on_frame(FRAME, torch.zeros(2, 2)), ValueError, "h", "1 singular", "invertible"),
    "two h singular": (lambda: rl.act_on_metric(torch.stack([EYE, ONES, 0 * EYE]), FRAME), ValueError, "h", "2 singular", "invertible"),
    "e singular": (lambda: bundles.change_of_frame(0 * EYE, EYE), ValueError, "e", "1 singular", "invertible"),
    "frames of two sizes": (lambda: rl.act_on_frame(FRAME, torch.eye(3)), ValueError, "e", r"\(3, 2, 2\), h \(3, 3\)", "one size d"),
    "h not square": (lambda: rl.act_on_frame(FRAME, torch.ones(3, 2)), ValueError, "h", r"\(3, 2\)", "square"),
    "h NaN": (lambda: rl.act_on_frame(FRAME, torch.full((2, 2), NAN)), ValueError, "h", "not finite", "finite"),
    "g acted on skew": (lambda: rl.act_on_metric(FRAME, ONES.triu()), ValueError, "g", "not symmetric", "g_ab = g_ba"),
    "g of another size": (lambda: rl.act_on_metric(FRAME, torch.eye(3)), ValueError, "h", r"\(3, 2, 2\), g \(3, 3\)", "are needed"),
    "three h for two e": (lambda: rl.act_on_frame(FRAME[:2], FRAME), ValueError, "e", r"\(2, 2, 2\), h \(3, 2, 2\)", "one for all"),
    "h of another dtype": (lambda: rl.act_on_frame(FRAME, FRAME.double()), TypeError, "h", "float64, e torch.float32", "to"),
    "an inverse of tensors": (lambda: rl.act_on_metric(FRAME, FRAME, inverse=ONES), TypeError, "inverse", "Tensor", "True or False"),
    "three h for two g": (lambda: rl.act_on_metric(FRAME, FRAME[:2]), ValueError, "h", r"\(3, 2, 2\), g \(2, 2, 2\)", "one for all"),
    "g of another dtype": (lambda: rl.act_on_metric(FRAME, FRAME.double()), TypeError, "g", "float64, h torch.float32", "to"),
    "covectors of another dtype": (lambda: bundles.covectors(net(), X, X[:, None].float()), TypeError, "output", "float32", "to"),
    "covectors of no network": (lambda: bundles.covectors(torch.sin, X, X[:, None]), TypeError, "net", "builtin", "CkNetwork"),
    "backpropagation in a part": (
        lambda: rl.backpropagate(net()[1:], X, torch.zeros(5).long()),
        ValueError,
        "net",
        "a part of a network",
        "the whole network",
    ),
    "backpropagation in a module": (lambda: rl.backpropagate(torch.sin, X, None), TypeError, "net", "builtin", "CkNetwork"),
    "covectors too wide": (lambda: bundles.covectors(net(), X, X[:, None, :1]), ValueError, "output", r"\(5, 1, 1\)", r"\(5, r, 2\)"),
    "labels of backpropagation": (lambda: rl.backpropagate(net(), X, torch.arange(5)), ValueError, "label", "0 to 4", "0 to 1"),
    "labels too few": (lambda: rl.backpropagate(net(), X, torch.tensor([0, 1])), ValueError, "label", r"\(2,\)", "one label for each"),
    "labels of numbers": (lambda: rl.backpropagate(net(), X, torch.zeros(5)), TypeError, "label", "float32", "int64"),
    # curvature
    "a field of no metric": (lambda: rl.riemann(lambda x: x, X), ValueError, "metric", r"\(5, 2\)", r"\(5, 2, 2\)"),
    "curvature NaN": (lambda: rl.christoffel(torch.diag_embed, at(X, (0, 0), NAN)), ValueError, "x", "not finite", "finite"),
    "curvature of no metric": (lambda: rl.riemann(metric([1, 0], [0, 1]), X), TypeError, "metric", "Tensor", "a function"),
    "curvature asymmetric": (
        lambda: rl.riemann(lambda x: x[:, :, None] * ONES.triu().double(), X),
        ValueError,
        "metric",
        "not symm",
        "g_ab",
    ),
    "symbols asymmetric": (lambda: rl.christoffel(lambda x: metric([1, 1], [0, 1])[: len(x)], X), ValueError, "metric", "not symm", "g_ab"),
    "symbols of NaN": (lambda: rl.christoffel(lambda x: NAN * x[:, :, None] * x[:, None], X), ValueError, "metric", "not finite", "finite"),
    "curvature of NaN": (lambda: rl.riemann(lambda x: NAN * x[:, :, None] * x[:, None], X), ValueError, "metric", "not finite", "finite"),
    "symbols degenerate": (
        lambda: rl.christoffel(lambda x: x[:, :1, None] ** 2 * metric([1, 1], [1, 1])[: len(x)], X),
        ValueError,
        "metric",
        "degenerate at 5 of 5",
        "invertible",
    ),
    "preimage of no ball": (lambda: curvature.ball_preimages(torch.sin, X, 0.0), ValueError, "radius", "0.0", "positive"),
    "preimage in space": (lambda: curvature.ball_preimages(torch.sin, points(3, 3), 1.0), ValueError, "centres", r"\(3, 3\)", r"\(n, 2\)"),
    "bending in space": (lambda: curvature.bending(torch.sin, points(3, 3)), ValueError, "centres", r"\(3, 3\)", r"\(n, 2\)"),
    "starts in space": (lambda: curvature.preimages(torch.sin, X[0], points(3, 3)), ValueError, "starts", r"\(3, 3\)", r"\(n, 2\)"),
    # curves
    "two layers": (lambda: curves.roughness(torch.zeros(2, 5, 2)), ValueError, "images", "2 layers", "at least 3"),
    "crossing in space": (lambda: curves.cross(torch.sin, points(3, 3), X), ValueError, "the images", r"\(3, 3\)", "points of the plane"),
    # training
    "batch": (lambda: train(batch_size=21), ValueError, "batch_size", "21.*20", "no larger"),
    "batch 0": (lambda: train(batch_size=0), ValueError, "batch_size", "0", "at least 1"),
    "batch 2.5": (lambda: train(batch_size=2.5), TypeError, "batch_size", "2.5", "integer"),
    "updates": (lambda: train(updates=-1), ValueError, "updates", "-1", "at least 0"),
    "rate": (lambda: train(learning_rate=-0.1), ValueError, "learning_rate", "-0.1", "positive"),
    "rate NaN": (lambda: train(learning_rate=NAN), ValueError, "learning_rate", "nan", "finite"),
    "no seeds": (lambda: train(seeds=[]), ValueError, "seeds", r"\[\]", "at least one"),
    "repeated seeds": (lambda: train(seeds=[1, 2, 1]), ValueError, "seeds", r"\[1, 2, 1\]", "each once"),
    "negative seed": (lambda: train(seeds=[-1]), ValueError, "seeds", "-1", "at least 0"),
    "seed 0.5": (lambda: train(seeds=[0.5]), TypeError, "seeds", "0.5", "integer"),
    "seeds in a tensor of no axis": (lambda: train(seeds=torch.tensor(1)), TypeError, "seeds", "Tensor", "a sequence of integers"),
    "one seed": (lambda: train(seeds=3), TypeError, "seeds", "3", "integers"),
    "snapshot": (lambda: train(snapshots=[3]), ValueError, "snapshots", r"\[3\]", "0 to 2"),
    "labels high": (lambda: train(sample=rl.spiral(20, arms=3, dtype=torch.float64)), ValueError, "label", "0 to 2", "0 to 1"),
    "labels low": (lambda: train(sample=sample(label=-torch.ones(20).long())), ValueError, "label", "-1", "0 to 1"),
    "labels real": (lambda: train(sample=sample(label=torch.zeros(20))), TypeError, "label", "float32", "integers from 0"),
    "labels short": (lambda: train(sample=sample(label=torch.zeros(19).long())), ValueError, "x", r"\(20, 2\), label \(19,\)", "one label"),
    "data wide": (lambda: train(sample=sample(x=points(20, 3))), ValueError, "x", r"\(20, 3\)", r"\(n, 2\)"),
    "data NaN": (lambda: train(sample=sample(x=torch.full((20, 2), NAN).double())), ValueError, "x", "not finite", "finite"),
    "data complex": (lambda: train(sample=sample(x=points(20, 2).to(torch.complex128))), TypeError, "x", "complex128", "real numbers"),
    "data sparse": (lambda: train(sample=sample(x=points(20, 2).to_sparse())), TypeError, "x", "sparse", "dense"),
    "data of words": (lambda: train(sample=([["a", "b"]] * 20, [0] * 20)), TypeError, "x", "no array of real numbers", "needed"),
    "data of complex numbers": (lambda: train(sample=(np.ones((20, 2)) * 1j, [0] * 20)), TypeError, "x", "complex128", "real numbers"),
    "no data": (lambda: train(sample=torch.ones(20, 2)), TypeError, "sample", "Tensor", "a Sample, or a pair"),
    "data of three": (lambda: train(sample=(points(20, 2),) * 3), TypeError, "sample", "tuple", "a Sample, or a pair"),
    "labels of two kinds": (lambda: train(sample=(points(3, 2), ["a", 1, None]), batch_size=2), TypeError, "label", "no order", "names"),
    "names of three classes": (
        lambda: train(sample=(points(3, 2), ["a", "b", "c"]), batch_size=2),
        ValueError,
        "label",
        "0 to 2",
        "0 to 1",
    ),
    "labels true": (lambda: train(sample=sample(label=torch.ones(20).bool())), TypeError, "label", "bool", "integers from 0"),
    "training a module": (lambda: train(of=torch.nn.Linear(2, 2)), TypeError, "net", "Linear", "a riemlib.CkNetwork"),
    "training a part": (lambda: train(of=net()[1:]), ValueError, "net", "a part of a network", "the whole network"),
    "snapshot 2.5": (lambda: train(snapshots=[2.5]), TypeError, "snapshots", "2.5", "integer"),
    "seed 2³¹": (lambda: train(seeds=[2**31]), ValueError, "seed", "2147483648", "below 2³¹"),
    "trained on a phantom": (lambda: train(device="phantom"), ValueError, "device", "'phantom'", "'cpu' or 'cuda'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_what_was_given_and_what_is_needed(case):
    call, kind, name, given, needed = REFUSED[case]
    with pytest.raises(kind, match=rf"(?s)^{name}\b.*{given}") as refusal:
        call()
    assert refusal.match(needed)


def test_the_type_check_of_the_tests_is_on():
    """The control of every other file: with the run-time check a wrong shape never gets as far as riemlib's own refusal."""
    from jaxtyping import TypeCheckError, config

    config.update("jaxtyping_disable", False)
    with pytest.raises(TypeCheckError):
        net()(X[0])
    with pytest.raises(TypeCheckError):
        rl.squared_length(metric([1, 0], [0, 1]), X[:3])


ACCEPTED = {
    "numpy integers": lambda: net(widths=np.array([2, 2, 2]), order=np.int64(2)),
    "numpy steps": lambda: net(step=np.array([0.1, 0.2, 0.3])),
    "step as an integer": lambda: net(step=1),
    "rounding is no asymmetry": lambda: rl.balls(metric([1, 1e-17], [0, 1]), 1.0),
    "a zero eigenvalue": lambda: induced(metric([1, 1], [1, 1])),
    "the output's own layer": lambda: rl.pushforward(net(), X, 3),
    "one point": lambda: rl.pullback_metrics(net(), X[:1]),
    "a batch of everything": lambda: train(batch_size=20),
    "no update": lambda: train(updates=0),
    "numpy seeds": lambda: train(seeds=np.arange(2), batch_size=np.int64(5), updates=np.int32(1), learning_rate=np.float32(0.1)),
    "a numpy seed": lambda: rl.CkNetwork([2, 2], seed=np.int64(3)).redraw(np.uint8(4)),
    "numpy numbers of points": lambda: rl.spiral(np.int64(6), arms=np.int32(3), turns=np.float32(0.5), seed=np.int64(1)),
    "the largest seed": lambda: train(seeds=[2**31 - 1]),
    "snapshots from a generator": lambda: train(snapshots=(s for s in (0, 2))).snapshots[2],
    "a sample of another dtype": lambda: train(sample=rl.spiral(20, dtype=torch.float32)),
    "a sample without positions": lambda: train(sample=rl.Sample(X, torch.tensor([0, 1, 0, 1, 0])), batch_size=5),
    "one Jacobian": lambda: balls_of(torch.ones(2, 2), 1.0).axes,
    "seeds from a generator": lambda: train(seeds=(s for s in range(2))),
    "points that carry gradients": lambda: rl.pullback_metrics(net(), X.clone().requires_grad_()),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_good_input_of_an_unusual_kind_is_let_through(case):
    assert ACCEPTED[case]() is not None


def test_a_network_that_has_no_file_form_is_not_saved(tmp_path):
    file = tmp_path / "net.safetensors"
    for refused in (net(activation=torch.sin), net(activation=lambda z: torch.tanh(z)), net()[1:]):
        with pytest.raises(ValueError, match="cannot be saved; an activation with a name and a whole network are needed"):
            refused.save(file)
    assert not file.exists()


def test_a_file_that_is_no_saved_network_is_not_loaded(tmp_path):
    """Without settings, with settings that are no JSON or fit other weights, cut short, or empty."""
    file, tensors = tmp_path / "foreign.safetensors", {name: p.detach() for name, p in net().named_parameters()}
    net(widths=[2, 2]).save(file)
    whole = file.read_bytes()
    with safe_open(file, "pt") as kept:
        other = kept.metadata()

    def refused():
        with pytest.raises(ValueError, match=r"(?s)foreign.safetensors holds no network \(.*; a file that CkNetwork.save wrote is needed"):
            rl.CkNetwork.load(file)

    for metadata in (None, {"format": "pt"}, {"settings": "{"}, {"settings": "[1]"}, {"settings": '{"widths": [2]}'}):
        save_file(tensors, file, metadata)
        refused()
    save_file({**tensors, "weights.0": torch.zeros(3, 3)}, file, other)
    refused()
    for damaged in (b"", whole[:40], whole[:-8]):
        file.write_bytes(damaged)
        refused()
    file.write_bytes(whole)
    assert rl.CkNetwork.load(file).widths == (2, 2)


def test_whether_a_condition_is_true_is_asked_only_of_what_can_answer():
    """One element, true or false; on meta and inside vmap nothing is known; nothing else passes for true."""
    assert (
        is_true_or_unknown(torch.tensor(True)) and is_true_or_unknown(torch.tensor([True])) and not is_true_or_unknown(torch.tensor(False))
    )
    for several in (torch.tensor([False, False]), torch.tensor([True, True]), torch.ones(0, dtype=torch.bool)):
        with pytest.raises(ValueError, match="condition has shape .* one element is needed"):
            is_true_or_unknown(several)
    assert is_true_or_unknown(torch.zeros((), dtype=torch.bool, device="meta"))
    assert torch.func.vmap(lambda x: x if is_true_or_unknown((x > 0).all()) else -x)(-torch.ones(2)).tolist() == [-1, -1]

    class Broken(torch.Tensor):
        def __bool__(self):
            raise RuntimeError("device is gone")

    with pytest.raises(RuntimeError, match="device is gone"):
        is_true_or_unknown(torch.ones(()).as_subclass(Broken))
