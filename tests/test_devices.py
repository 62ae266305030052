"""Device and dtype: every public function on the `meta` device, where a tensor made on the CPU is an error, and away from defaults.

On `meta` there are shapes and no values, so a branch on a value fails as well.
"""

import pytest
import torch
from reference import CASES, error, network, points, silu, spd

import riemlib as rl
from riemlib import bundles, charts, curvature, limits
from riemlib.ellipsoids import condition_number, log_volume

META = torch.device("meta")


def on_meta(**case):
    return network(**case).to(META)


def where(found) -> set[str]:
    """The devices of all tensors in lists, dictionaries and data classes."""
    if isinstance(found, torch.Tensor):
        return {found.device.type}
    if isinstance(found, torch.nn.Module):
        return {p.device.type for p in found.parameters()}
    if isinstance(found, dict):
        found = found.values()
    elif not isinstance(found, list | tuple):
        found = vars(found).values() if hasattr(found, "__dict__") else []
    return set().union(*map(where, found))


def calls():
    x, d = points(5, 2).to(META), spd(2).to(META)
    each, g, plane = spd(2, 5).to(META), spd(3, 5).to(META), spd(2, 5).to(META)
    sample = rl.Sample(x, torch.zeros(5, dtype=torch.int64, device=META), x[:, 0])
    training = dict(batch_size=2, updates=3, learning_rate=1e-2, progress=False, snapshots=[0, 3])
    plain, shared = on_meta(widths=[2] * 3), dict(widths=[2] * 4, shared=True, order=2)
    return {
        "spiral": lambda: rl.spiral(10, noise=0.1, device=META),
        "annulus": lambda: rl.annulus(10, device=META),
        "spiral moved": lambda: rl.spiral(10).to("meta"),
        "CkNetwork": lambda: rl.CkNetwork([2, 2], device=META, seed=0),
        "redraw": lambda: on_meta(**CASES["mixed"]).redraw(0),
        "coordinates": lambda: on_meta(**CASES["mixed"]).coordinates(x),
        "states": lambda: on_meta(**CASES["mixed"]).states(x),
        "logits": lambda: on_meta(**CASES["mixed"])(x),
        "jacobians": lambda: rl.jacobians(on_meta(**CASES["mixed"]), x),
        "custom activation": lambda: rl.jacobians(on_meta(widths=[2] * 4, activation=silu), x),
        "pushforward": lambda: rl.pushforward(on_meta(**CASES["mixed"]), x, 2),
        "pushforward from the output": lambda: rl.pushforward(on_meta(widths=[2] * 4), x, 3),
        "pullback_metrics": lambda: rl.pullback_metrics(on_meta(**CASES["mixed"]), x),
        "pullback_metrics, one matrix": lambda: rl.pullback_metrics(on_meta(**CASES["mixed"]), x, d),
        "pullback_metrics, one per point": lambda: rl.pullback_metrics(on_meta(**CASES["mixed"]), x, each),
        "pullback_metric": lambda: rl.pullback_metric(on_meta(**CASES["mixed"]), x, d),
        "pullback_metric of points": lambda: rl.pullback_metric(lambda p: p.sin(), x, each),
        "geometry": lambda: rl.geometry(on_meta(**CASES["mixed"]), x, each),
        "balls of a geometry": lambda: rl.geometry(on_meta(**CASES["mixed"]), x, d).balls(0.1),
        "a part of a network": lambda: on_meta(**CASES["mixed"])[:4].states(x),
        "from_weights": lambda: rl.CkNetwork.from_weights([d, d], [x[0], x[0]]),
        "with_parameters": lambda: on_meta(widths=[2] * 3).with_parameters(torch.empty(18, dtype=x.dtype, device=META)),
        "balls_of": lambda: rl.balls_of(plane, 0.1),
        "squared_length": lambda: rl.squared_length(plane, x),
        "balls": lambda: rl.balls(g, 0.1),
        "condition_number": lambda: condition_number(g),
        "log_volume": lambda: log_volume(g),
        "outline": lambda: rl.balls(plane, 0.1).outline(x),
        "principal_minors": lambda: charts.principal_minors(g),
        "is_p_matrix": lambda: charts.is_p_matrix(g),
        "points_on_pieces": lambda: charts.points_on_pieces(plane, x),
        "relu_preimages": lambda: charts.relu_preimages(plane, x, plane),
        "local_dimension": lambda: charts.local_dimension(x, neighbours=3),
        "momentum_form": lambda: limits.momentum_form(on_meta(widths=[2] * 4, order=2), x),
        "central_first_difference": lambda: limits.central_first_difference(on_meta(widths=[2] * 4), x),
        "implicit": lambda: limits.implicit(on_meta(widths=[2] * 4, step=0.5)),
        "smooth_field": lambda: limits.smooth_field(2, seed=0, device=META),
        "discretise": lambda: limits.discretise(*limits.smooth_field(2, seed=0, device=META), limits.partition(3)),
        "ordered_product": lambda: limits.ordered_product(plane, [0.2] * 5),
        "variation": lambda: limits.variation(plane),
        "path_distance": lambda: limits.path_distance(plane, torch.cat([plane, plane], 1)),
        "random_layers": lambda: limits.random_layers(x, 3, 0.3, draws=5),
        "act_on_frame": lambda: bundles.act_on_frame(plane, plane),
        "act_on_metric": lambda: [bundles.act_on_metric(plane, plane, inverse=inverse) for inverse in (False, True)],
        "change_of_frame": lambda: bundles.change_of_frame(plane, plane),
        "group_elements": lambda: bundles.group_elements(5, 2, seed=0, device=META),
        "covectors": lambda: bundles.covectors(on_meta(**CASES["mixed"]), x, plane),
        "error_covector": lambda: bundles.error_covector(on_meta(**CASES["mixed"]), x, sample.label),
        "backpropagate": lambda: bundles.backpropagate(on_meta(**CASES["mixed"]), x, sample.label),
        "riemann": lambda: curvature.riemann(lambda p: rl.pullback_metrics(plain, p)[0], x),
        "gauss_equation": lambda: curvature.gauss_equation(on_meta(widths=[2] * 3)[:], x),
        "ball_preimages": lambda: curvature.ball_preimages(on_meta(widths=[2] * 3)[:], x, 0.1),
        "bending": lambda: curvature.bending(on_meta(widths=[2] * 3)[:], x),
        "fit": lambda: rl.fit(on_meta(**shared), sample, seeds=[0, 1], **training),
        "fit moves": lambda: rl.fit(network(widths=[2] * 4), rl.spiral(5, dtype=torch.float64), seeds=[0, 1], device="meta", **training),
    }


@pytest.mark.parametrize("call", calls())
def test_a_call_on_the_meta_device_stays_there(call):
    assert where(calls()[call]()) == {"meta"}


@pytest.mark.parametrize("slip", [lambda z: z + torch.zeros(1, dtype=z.dtype, device="cpu"), lambda z: z if z.isfinite().all() else -z])
def test_a_cpu_tensor_or_a_branch_on_a_value_fails_on_the_meta_device(slip):
    """The controls of the test above."""
    net, x = network(widths=[2] * 4, activation=slip), points(5, 2)
    rl.pullback_metrics(net, x)
    with pytest.raises(RuntimeError):
        rl.pullback_metrics(net.to(META), x.to(META))


def test_a_default_device_changes_nothing_where_a_device_is_given():
    net, sample = network(**CASES["mixed"]), rl.spiral(40, noise=0.1, dtype=torch.float64, device="cpu")
    training = dict(seeds=[1, 2], batch_size=15, updates=5, learning_rate=1e-2, progress=False)
    x, matrix = sample.x, spd(2)

    def everything():
        return [
            *rl.pullback_metrics(net, x, matrix),
            *rl.jacobians(net, x),
            rl.pushforward(net, x),
            rl.balls(rl.pullback_metric(net, x), 0.1).outline(x),
            rl.fit(net, sample, **training).loss,
        ]

    expected = everything()
    with torch.device("meta"):
        again = rl.spiral(40, noise=0.1, dtype=torch.float64, device="cpu")
        ring = rl.annulus(20, dtype=torch.float64, device="cpu")
        drawn = rl.CkNetwork([2] * 10, seed=0, dtype=torch.float64, device="cpu")
        found = everything()
        assert rl.CkNetwork([2, 2]).readout.weight.device == rl.spiral(4).x.device == META
    assert torch.equal(ring.x, rl.annulus(20, dtype=torch.float64).x)
    assert torch.equal(again.x, x) and torch.equal(drawn.weights[3], network(**CASES["mixed"]).weights[3])
    assert error(found, expected) == 0


def test_a_gpu_gives_the_same_numbers(cuda):
    """Data, weights, minibatches, metrics and balls do not depend on the device."""
    sample, net = rl.spiral(60, noise=0.1, dtype=torch.float64), network(**CASES["mixed"])
    there = network(**CASES["mixed"]).to(cuda)
    assert torch.equal(rl.spiral(60, noise=0.1, dtype=torch.float64, device=cuda).x.cpu(), sample.x)
    training = dict(seeds=[1, 2], batch_size=25, updates=5, learning_rate=1e-2, progress=False)
    here, moved = rl.fit(net, sample, **training), rl.fit(there, sample.to(cuda), **training)
    assert where(moved) == {"cuda"}
    assert error([moved.loss.cpu()], [here.loss]) < 1e-10
    assert error([p.cpu() for p in there.states(sample.x.to(cuda))], net.states(sample.x)) < 1e-10
    here, moved = (rl.geometry(n, x, spd(2).to(x)) for n, x in ((net, sample.x), (there, sample.x.to(cuda))))
    assert where(moved) == {"cuda"}
    assert error([g.cpu() for g in moved.g], here.g) < 1e-10
    assert error([1 / moved.balls(0.1)[0].axes.cpu()], [1 / here.balls(0.1)[0].axes]) < 1e-10
