"""`fit`: what it trains is what a plain loop over one network trains, seed by seed, whoever runs beside it; many networks in one pass."""

import math
import os
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from reference import coordinates, error, network, points

import riemlib as rl
from riemlib import engines
from riemlib.training import Ensemble

SAMPLE = rl.spiral(50, turns=0.7, noise=0.02, dtype=torch.float64)
SETTINGS = dict(batch_size=15, updates=40, learning_rate=1e-2, progress=False)

TEMPLATES = {
    "order 0": dict(widths=[2] * 5, order=0),
    "order 1": dict(widths=[2] * 5, order=1, step=0.7),
    "order 2": dict(widths=[2] * 5, order=2),
    "mixed": dict(widths=[2, 3, 3, 3], order=[0, 3, 3], activation="softplus"),
    "shared": dict(widths=[2] * 5, order=1, shared=True),
}
each_template = pytest.mark.parametrize("case", TEMPLATES.values(), ids=TEMPLATES)


def weights(net):
    return [p.detach() for p in net.parameters()]


def minibatches(seed, n, batch_size):
    """A seed's minibatches: permutations of its own, cut into batches, a remainder left out."""
    generator = torch.Generator().manual_seed(engines.MINIBATCH_SEED_OFFSET + seed)
    while True:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def plain_loop(case, seed, sample, *, batch_size, updates, learning_rate, progress=False):
    """One network, trained as any tutorial does."""
    net = rl.CkNetwork(**case, seed=seed, dtype=sample.x.dtype)
    net.by_hand = network(**case).by_hand
    optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    batches, losses = minibatches(seed, len(sample), batch_size), []
    for _ in range(updates):
        rows = next(batches)
        loss = torch.nn.functional.cross_entropy(net(sample.x[rows]), sample.label[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.detach())
    return net, torch.stack(losses)


@each_template
def test_fit_equals_a_plain_loop(case):
    """Loss update by update, every weight at the end, and the error counted from coordinates written out by hand."""
    fit = rl.fit(network(**case), SAMPLE, seeds=[4, 0, 11], **SETTINGS)
    for i, seed in enumerate(fit.seeds):
        net, loss = plain_loop(case, seed, SAMPLE, **SETTINGS)
        assert error([fit.loss[i]], [loss]) < 1e-9
        assert error(weights(fit.networks[i]), weights(net)) < 1e-8
        logits = coordinates(net, SAMPLE.x)[-1] @ net.readout.weight.mT + net.readout.bias
        assert float(fit.error[i]) == pytest.approx(float((logits.argmax(1) != SAMPLE.label).double().mean()))


def test_a_plain_loop_with_one_slip_differs():
    """The control: other minibatches, another rate, no decay, another seed are all seen by the comparison above."""
    case, (seed, other) = TEMPLATES["order 1"], (4, 5)
    fit = rl.fit(network(**case), SAMPLE, seeds=[seed], **SETTINGS)
    for changes, of in (({"batch_size": 16}, seed), ({"learning_rate": 0.011}, seed), ({"updates": 41}, seed), ({}, other)):
        net, _ = plain_loop(case, of, SAMPLE, **{**SETTINGS, **changes})
        assert error(weights(fit.networks[0]), weights(net)) > 1e-4


@each_template
def test_a_seed_is_the_same_whoever_runs_beside_it(case):
    alone = rl.fit(network(**case), SAMPLE, seeds=[7], snapshots=[0], **SETTINGS)
    for seeds in ([7, 1, 2], [3, 9, 1, 7], list(range(12))):
        beside = rl.fit(network(**case), SAMPLE, seeds=seeds, snapshots=[0], **SETTINGS)
        i = seeds.index(7)
        assert all(torch.equal(p, q) for p, q in zip(weights(beside.snapshots[0][i]), weights(alone.snapshots[0][0]), strict=True))
        assert error([beside.loss[i]], [alone.loss[0]]) < 1e-10
        assert error(weights(beside.networks[i]), weights(alone.networks[0])) < 1e-9
        assert beside.error[i] == alone.error[0]


def test_the_template_does_not_matter_and_is_left_alone():
    """Each seed draws its own weights, whatever those of the template are, and the template keeps its own."""
    one, two = network(seed=1, widths=[2] * 4), network(seed=2, widths=[2] * 4)
    before = [p.clone() for p in weights(one)]
    found = rl.fit(one, SAMPLE, seeds=[3], **SETTINGS), rl.fit(two, SAMPLE, seeds=[3], **SETTINGS)
    assert all(torch.equal(p, q) for p, q in zip(weights(found[0].networks[0]), weights(found[1].networks[0]), strict=True))
    assert all(torch.equal(p, q) for p, q in zip(weights(one), before, strict=True))
    assert all(p.grad is None for p in one.parameters())


def test_initial_weights_are_the_seeds():
    fit = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[3, 8], snapshots=[0], **SETTINGS)
    for seed, net in zip(fit.seeds, fit.snapshots[0], strict=True):
        drawn = rl.CkNetwork([2] * 4, seed=seed, dtype=torch.float64)
        assert all(torch.equal(p, q) for p, q in zip(weights(net), weights(drawn), strict=True))


def test_minibatches_are_permutations_cut_up_for_each_seed():
    """Every epoch is a permutation cut up; seeds differ; a seed's are the same at any place, in any company."""
    first = engines.minibatches([5, 6], 10, 5)
    epochs = [torch.cat([next(first), next(first)], 1) for _ in range(3)]
    for epoch in epochs:
        assert epoch.sort(1).values.tolist() == [list(range(10))] * 2
        assert epoch[0].tolist() != epoch[1].tolist()
    assert epochs[0].tolist() != epochs[1].tolist()
    second = engines.minibatches([9, 1, 6], 10, 5)
    assert next(second)[2].tolist() + next(second)[2].tolist() == epochs[0][1].tolist()


def test_minibatches_are_not_the_draw_of_the_weights():
    here, there = (torch.rand(8, generator=torch.Generator().manual_seed(seed)) for seed in (3, engines.MINIBATCH_SEED_OFFSET + 3))
    assert not torch.equal(here, there)


def test_the_same_call_twice_is_the_same_to_the_bit():
    torch.manual_seed(1)
    first = rl.fit(network(widths=[2] * 5, order=2), SAMPLE, seeds=range(5), **SETTINGS)
    torch.manual_seed(2)
    torch.rand(7)
    state = torch.get_rng_state()
    second = rl.fit(network(widths=[2] * 5, order=2), SAMPLE, seeds=range(5), **SETTINGS)
    assert torch.equal(first.loss, second.loss) and torch.equal(first.error, second.error)
    for a, b in zip(first.networks, second.networks, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(weights(a), weights(b), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_a_snapshot_is_the_network_after_so_many_updates():
    """Networks after so many updates; the last is the result, and keeping them changes nothing."""
    case = TEMPLATES["order 1"]
    fit = rl.fit(network(**case), SAMPLE, seeds=[2, 3], snapshots=[0, 10, 40], **SETTINGS)
    bare = rl.fit(network(**case), SAMPLE, seeds=[2, 3], **SETTINGS)
    assert sorted(fit.snapshots) == [0, 10, 40] and bare.snapshots == {}
    assert torch.equal(fit.loss, bare.loss)
    for i in range(2):
        assert all(torch.equal(p, q) for p, q in zip(weights(fit.snapshots[40][i]), weights(fit.networks[i]), strict=True))
        assert error(weights(fit.snapshots[10][i]), weights(fit.snapshots[0][i])) > 1e-3
        assert error(weights(fit.snapshots[10][i]), weights(fit.networks[i])) > 1e-3
        # The loss of update 11 is that of the network after 10: a snapshot is not shifted by one, nor a view of what goes on.
        batches = minibatches(fit.seeds[i], len(SAMPLE), 15)
        rows = [next(batches) for _ in range(11)][-1]
        loss = torch.nn.functional.cross_entropy(fit.snapshots[10][i](SAMPLE.x[rows]), SAMPLE.label[rows])
        assert error([fit.loss[i, 10]], [loss.detach()]) < 1e-10


def test_networks_are_the_callers_to_change():
    fit = rl.fit(network(widths=[2] * 4, shared=True), SAMPLE, seeds=[2, 3], **SETTINGS)
    a, b = fit.networks
    before = weights(b)[0].clone()
    with torch.no_grad():
        a.weights[0].fill_(0)
    assert torch.equal(weights(b)[0], before)
    assert len({id(W) for W in a.weights}) == 1
    assert all(p.requires_grad for p in a.parameters())


def test_a_fit_holds_a_result_for_each_seed():
    fit = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=(s for s in (5, 1)), **SETTINGS)
    assert fit.seeds == (5, 1) and len(fit.networks) == 2
    assert fit.loss.shape == (2, 40) and fit.error.shape == (2,) and fit.loss.isfinite().all()
    assert fit.diverged == () and fit.solved.tolist() == [e == 0 for e in fit.error.tolist()]
    none = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[5], **{**SETTINGS, "updates": 0})
    assert none.loss.shape == (1, 0) and float(none.error[0]) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_keeps_the_dtype(dtype):
    fit = rl.fit(network(widths=[2] * 4, dtype=dtype), SAMPLE.to(dtype), seeds=[0, 1], **SETTINGS)
    assert {fit.loss.dtype, fit.error.dtype, *(p.dtype for p in fit.networks[0].parameters())} == {dtype}
    double = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[0, 1], **SETTINGS)
    assert error([fit.loss.double()], [double.loss]) < 1e-3


def test_an_easy_spiral_is_learnt_by_most_seeds():
    """An easy spiral is separated by most seeds, and the loss goes down; untrained by few."""
    sample = rl.spiral(60, turns=0.4, dtype=torch.float64)
    settings = dict(seeds=range(8), batch_size=30, learning_rate=0.03, progress=False)
    fit = rl.fit(network(widths=[2] * 7), sample, updates=300, **settings)
    assert fit.solved.sum() >= 6
    assert (fit.loss[:, -20:].mean(1) < 0.5 * fit.loss[:, :5].mean(1)).sum() >= 6
    assert rl.fit(network(widths=[2] * 7), sample, updates=0, **settings).solved.sum() <= 2


class TestDivergence:
    """exp grows so fast that some seeds overflow and others do not."""

    CASE = dict(widths=[2] * 7, activation=torch.exp, step=0.35, dtype=torch.float32)
    HOT = {**SETTINGS, "learning_rate": 0.05, "seeds": range(12)}

    def run(self, **changes):
        return rl.fit(network(**self.CASE), SAMPLE.to(torch.float32), **{**self.HOT, **changes})

    def test_divergence_is_reported_by_seed(self):
        with pytest.warns(RuntimeWarning, match="seeds diverged") as said:
            fit = self.run()
        lost = [s for s, loss, net in zip(fit.seeds, fit.loss, fit.networks, strict=True) if not finite(loss, net)]
        assert 0 < len(lost) < len(fit.seeds)
        assert list(fit.diverged) == lost
        assert [str(w.message) for w in said] == [f"{len(lost)} of 12 seeds diverged: {lost}"]
        assert fit.error.isnan().tolist() == [s in lost for s in fit.seeds]
        assert not fit.solved[fit.error.isnan()].any()
        assert fit.seeds[fit.typical()] not in lost

    def test_a_seed_that_diverges_leaves_the_others_alone(self):
        with pytest.warns(RuntimeWarning):
            fit = self.run()
        well = [s for s in fit.seeds if s not in fit.diverged]
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            alone = self.run(seeds=well)
        assert alone.diverged == ()
        for i, seed in enumerate(well):
            assert error([fit.loss[fit.seeds.index(seed)]], [alone.loss[i]]) < 1e-3

    def test_all_seeds_may_diverge(self):
        with pytest.warns(RuntimeWarning, match="2 of 2 seeds diverged"):
            fit = self.run(seeds=[0, 1], learning_rate=1e30)
        assert fit.diverged == (0, 1) and fit.error.isnan().all()
        with pytest.raises(ValueError, match="all 2 seeds diverged; a smaller learning_rate is needed"):
            fit.typical()


def finite(loss, net) -> bool:
    return bool(loss.isfinite().all()) and all(bool(p.isfinite().all()) for p in net.parameters())


def no_compiler(losses):
    raise RuntimeError("no compiler")


def failing_compiler(losses):
    def compiled(*_):
        raise OSError("the compiler crashed")

    return compiled


@pytest.mark.parametrize("compiler", [no_compiler, failing_compiler])
def test_compile_falls_back_with_one_warning(compiler, monkeypatch):
    expected = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[0, 1], engine="torch", **SETTINGS)
    monkeypatch.setattr(torch, "compile", compiler)
    with pytest.warns(RuntimeWarning, match="torch.compile does not work here") as said:
        fit = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[0, 1], compile=True, **SETTINGS)
    assert len(said) == 1
    assert torch.equal(fit.loss, expected.loss)


def test_what_torch_compile_returns_is_used_at_every_update(monkeypatch):
    """What torch.compile returns is what runs, at every update."""
    count = []

    def compiler(losses):
        return lambda *args: count.append(1) or losses(*args)

    expected = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[0, 1], engine="torch", **SETTINGS)
    monkeypatch.setattr(torch, "compile", compiler)
    fit = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[0, 1], compile=True, **SETTINGS)
    assert torch.equal(fit.loss, expected.loss) and len(count) >= SETTINGS["updates"]


@pytest.mark.skipif("RIEMLIB_SLOW" not in os.environ, reason="set RIEMLIB_SLOW=1 to compile for real")
def test_compiled_equals_eager():
    expected = rl.fit(network(widths=[2] * 3), SAMPLE, seeds=[0, 1], engine="torch", **SETTINGS)
    fit = rl.fit(network(widths=[2] * 3), SAMPLE, seeds=[0, 1], compile=True, **SETTINGS)
    assert error([fit.loss], [expected.loss]) < 1e-9


def test_progress_is_shown_and_silenced(capsys):
    rl.fit(network(widths=[2] * 3), SAMPLE, seeds=[0, 1], **{**SETTINGS, "progress": True})
    assert "2 networks" in "".join(capsys.readouterr())
    rl.fit(network(widths=[2] * 3), SAMPLE, seeds=[0, 1], **SETTINGS)
    assert "".join(capsys.readouterr()) == ""


# Many networks in one pass.


def stacked(case, seeds):
    """Networks of these seeds, and the ensemble of all of them."""
    nets = [network(seed=seed, **case) for seed in seeds]
    flat = torch.stack([torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets])
    return nets, Ensemble(network(**case), flat)


@each_template
def test_an_ensemble_is_each_network_by_itself(case):
    """On points of its own for each network: coordinates at every layer, and logits."""
    nets, ensemble = stacked(case, [3, 1, 4])
    x = torch.stack([points(6, case["widths"][0], seed) for seed in range(3)])
    on_x, logits = ensemble.coordinates(x.mT), ensemble.logits(x.mT)
    for i, net in enumerate(nets):
        assert error([each[i].mT for each in on_x], coordinates(net, x[i])) < 1e-12
        assert error([logits[i].mT], [net(x[i])]) < 1e-12
    assert error([logits[0]], [logits[1]]) > 1e-2


@each_template
def test_a_gradient_of_an_ensemble_is_that_of_each_network(case):
    """A loss of the second network alone has no gradient in the others."""
    nets, ensemble = stacked(case, [3, 1, 4])
    x = points(6, case["widths"][0])
    parts = [part.requires_grad_() for part in ensemble.parts]
    gradients = torch.autograd.grad(ensemble.logits(x.expand(3, -1, -1).mT)[1].square().sum(), parts)
    expected = torch.autograd.grad(nets[1](x).square().sum(), [*nets[1].parameters()])
    assert error([gradient[1] for gradient in gradients], expected) < 1e-10
    assert all((gradient[[0, 2]] == 0).all() for gradient in gradients)


@each_template
def test_the_rows_of_an_ensemble_are_its_networks(case):
    nets, ensemble = stacked(case, [3, 1])
    for found, net in zip(ensemble.networks(), nets, strict=True):
        assert error(weights(found), weights(net)) == 0 and len([*found.parameters()]) == len([*net.parameters()])
        assert found.orders == net.orders and not {p.data_ptr() for p in found.parameters()} & {ensemble.flat.data_ptr()}


def test_an_ensemble_trains_the_row_it_is_given():
    """Its parts are views of `flat`: what changes there changes the networks."""
    nets, ensemble = stacked(TEMPLATES["order 1"], [3, 1])
    x = points(6, 2).expand(2, -1, -1).mT
    before = ensemble.logits(x)
    ensemble.flat[1] = ensemble.flat[0]
    assert error([ensemble.logits(x)[1]], [before[0]]) < 1e-12 and error([ensemble.logits(x)[0]], [before[0]]) == 0


# Points and labels of one's own.


def own_data():
    """The sample of the other tests in every form, with the names of its classes where they have any."""
    x, label = SAMPLE.x, SAMPLE.label
    words = np.array(["no", "yes"])[label]
    table = pd.DataFrame({"a": x[:, 0].numpy(), "b": x[:, 1].numpy(), "class": words})
    return {
        "tensors": ((x, label), (0, 1)),
        "arrays": ((x.numpy(), label.numpy()), (0, 1)),
        "lists": ((x.tolist(), label.tolist()), (0, 1)),
        "small integers": ((x, label.to(torch.uint8)), (0, 1)),
        "words": ((x, list(words)), ("no", "yes")),
        "columns": ((table[["a", "b"]], table["class"]), ("no", "yes")),
        "a column of one": ((table[["a", "b"]], table[["class"]]), ("no", "yes")),
        "categories": ((table[["a", "b"]], table["class"].astype("category")), ("no", "yes")),
        "true and false": ((x, label.numpy() > 0), (False, True)),
        "no positions": (rl.Sample(x, label), (0, 1)),
    }


@pytest.mark.parametrize("form", own_data())
def test_data_of_ones_own_is_trained_on_like_a_sample(form):
    """To the bit; string labels are numbered in sorted order, and `classes` says which is which."""
    data, classes = own_data()[form]
    expected = rl.fit(network(widths=[2] * 4), SAMPLE, seeds=[3], **SETTINGS)
    found = rl.fit(network(widths=[2] * 4), data, seeds=[3], **SETTINGS)
    assert torch.equal(found.loss, expected.loss) and torch.equal(found.error, expected.error)
    assert found.classes == classes and expected.classes == (0, 1)


def test_a_sample_is_cast_to_the_dtype_of_the_network():
    for dtype in (torch.float16, torch.float32, torch.int64):
        x = SAMPLE.x.to(dtype)
        found = rl.fit(network(widths=[2] * 4), (x, SAMPLE.label), seeds=[3], **SETTINGS)
        expected = rl.fit(network(widths=[2] * 4), (x.double(), SAMPLE.label), seeds=[3], **SETTINGS)
        assert found.loss.dtype == torch.float64 and torch.equal(found.loss, expected.loss)


def test_points_that_carry_gradients_are_trained_on_without():
    found = rl.fit(network(widths=[2] * 4), (SAMPLE.x.clone().requires_grad_(), SAMPLE.label), seeds=[3], **SETTINGS)
    assert not found.loss.requires_grad and found.networks[0].weights[0].grad is None


# The edges of what a fit says.


def result(loss, error=None):
    loss = torch.as_tensor(loss, dtype=torch.float64)
    n = len(loss)
    return rl.Fit(tuple(range(n)), [network(widths=[2, 2])] * n, torch.zeros(n) if error is None else torch.tensor(error), loss, {}, (0, 1))


@pytest.mark.parametrize(("updates", "last"), [(1, 1), (2, 1), (9, 1), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3)])
def test_the_late_loss_is_the_mean_over_the_last_tenth_and_at_least_one_update(updates, last):
    loss = torch.rand(3, updates, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = [sum(row[-last:]) / last for row in loss.tolist()]
    assert result(loss).late_loss.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("late", "error", "expected"),
    [
        ([3.0, 1.0, 2.0], None, 2),
        ([4.0, 1.0, 3.0, 2.0], None, 3),  # of an even number the lower of the two in the middle
        ([2.0, 1.0], None, 1),
        ([5.0], None, 0),
        ([1.0, 1.0, 1.0, 1.0], None, 1),  # ties: in the order of the seeds
        ([9.0, 1.0, 8.0, 7.0], [0.1, 0.5, 0.1, 0.1], 2),  # only seeds with the least error count
        ([9.0, 1.0, 8.0], [math.nan, 0.5, 0.5], 1),  # one that diverged has none
    ],
)
def test_the_typical_run_has_the_lower_median_of_the_late_loss(late, error, expected):
    assert result([[loss] for loss in late], error).typical() == expected


def test_a_seed_may_diverge_in_the_last_update_alone():
    """Every loss is finite, since it is taken before the update; the weights behind it are not."""
    settings = {**SETTINGS, "updates": 1, "learning_rate": 1e39}
    with pytest.warns(RuntimeWarning, match=r"2 of 2 seeds diverged: \[4, 2\]"):
        fit = rl.fit(network(widths=[2] * 4, dtype=torch.float32), SAMPLE.to(torch.float32), seeds=[4, 2], **settings)
    assert fit.loss.isfinite().all() and fit.error.isnan().all() and fit.diverged == (4, 2) and not fit.solved.any()


@pytest.mark.parametrize("updates", [1, 2, 7])
def test_the_learning_rate_follows_a_cosine_that_does_not_reach_zero(updates, monkeypatch):
    """η (1 + cos(π u / U)) / 2 for u = 0, ..., U - 1: from η itself to a last update that still moves."""
    rates, run = [], engines.Descent.run
    monkeypatch.setattr(engines.Descent, "run", lambda descent, *args: rates.extend(descent.rates) or run(descent, *args))
    rl.fit(network(widths=[2] * 3), SAMPLE, seeds=[0], **{**SETTINGS, "updates": updates, "learning_rate": 0.3})
    assert rates == pytest.approx([0.3 * math.cos(math.pi * u / updates / 2) ** 2 for u in range(updates)])
    assert rates[0] == 0.3 and rates[-1] > 0
