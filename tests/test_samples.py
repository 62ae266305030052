"""Samples for the study of the batch: which points they have, and what is asked of a sample as a whole, by independent routes."""

import numpy as np
import pytest
import torch

import riemlib as rl
from riemlib.companion import samples, studies
from riemlib.companion.samples import NOISE, noisy, roll_3, roll_4, roll_8, third_1, third_2, third_3
from riemlib.companion.studies import Condition

SMALL = Condition(depth=3, points=40, batch_size=40, updates=30, positions="even")
DOUBLE = torch.float64


def rows_of(x: torch.Tensor) -> set[tuple]:
    return {tuple(row) for row in x.tolist()}


def study(folder, *conditions, seeds=range(3)):
    return studies.study(conditions, seeds=seeds, folder=folder, workers=1, progress=False)


# Data of a condition.


def test_the_thirds_are_parts_of_the_base_and_have_no_point_in_common():
    """150 points on each arm, in order along it; and spread over all of it, which the first 150 of an arm are not."""
    whole = Condition().sample()
    parts = [Condition(data=third, points=300).sample() for third in (third_1, third_2, third_3)]
    points = [rows_of(part.x) for part in parts]
    assert [len(each) for each in points] == [300] * 3 and len(set.union(*points)) == 900 and set.union(*points) < rows_of(whole.x)
    for part in parts:
        assert part.label.bincount().tolist() == [150, 150]
        for arm in (0, 1):
            position = part.position[part.label == arm]
            assert (position.diff() > 0).all() and position[0] < 0.1 and position[-1] > 0.9


@pytest.mark.parametrize("data", [third_1, noisy])
def test_measures_of_curves_look_at_the_arms_themselves(data):
    """Asked for another number of points than those of training."""
    condition = Condition(data=data, points=300 if data is third_1 else 1000)
    expected = rl.spiral(4000, dtype=DOUBLE)
    found = condition.sample(4000, DOUBLE)
    assert torch.equal(found.x, expected.x) and torch.equal(found.position, expected.position)


def test_the_noise_has_its_size_and_the_points_held_out_are_others():
    found, clean = Condition(data=noisy).sample(dtype=DOUBLE), Condition().sample(dtype=DOUBLE)
    away = (found.x - clean.x).flatten()
    assert float(away.std()) == pytest.approx(NOISE, rel=0.05) and abs(float(away.mean())) < 0.01
    fresh = samples.held_out(1000)
    assert not rows_of(fresh.x) & rows_of(found.x) and fresh.x.dtype == DOUBLE
    t, arm = fresh.position.numpy(), fresh.label.numpy()
    angle = 2 * np.pi * (t + arm / 2)
    exact = (0.1 + 0.9 * t)[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    assert float((fresh.x.numpy() - exact).std()) == pytest.approx(NOISE, rel=0.05)


@pytest.mark.parametrize(("roll", "width"), [(roll_3, 3), (roll_4, 4), (roll_8, 8)])
def test_a_roll_is_the_spiral_times_a_cube(roll, width):
    condition = Condition(data=roll, width=width)
    found, flat = condition.sample(dtype=DOUBLE), Condition().sample(dtype=DOUBLE)
    assert torch.equal(found.x[:, :2], flat.x) and torch.equal(found.label, flat.label)
    across = found.x[:, 2:]
    assert across.shape == (1000, width - 2) and float(across.abs().max()) <= 1
    assert np.allclose(across.std(0), 3**-0.5, rtol=0.1) and np.linalg.matrix_rank(across.numpy()) == width - 2
    curve = condition.sample(4000, DOUBLE)
    assert not curve.x[:, 2:].any() and torch.equal(curve.x[:, :2], rl.spiral(4000, dtype=DOUBLE).x)


# What a sample tells of networks.


def test_errors_are_counted_on_the_points_of_the_sample(tmp_path):
    """By a loop over points; NaN where a network diverged."""
    hot = Condition(depth=3, points=40, batch_size=20, updates=10, order=2, positions="even", learning_rate=1e20)
    result, fresh = study(tmp_path, SMALL, hot, seeds=range(6)), samples.held_out(50)
    table = samples.generalisation(result, {"40": SMALL, "hot": hot}, fresh)
    assert table["measure"].unique().tolist() == [samples.SEEN, samples.UNSEEN] and len(table) == 2 * 2 * 6
    for name, condition in {"40": SMALL, "hot": hot}.items():
        trained = result.trained(condition)
        seen, unseen = (table[(table["batch_size"] == name) & (table["measure"] == each)] for each in (samples.SEEN, samples.UNSEEN))
        assert np.array_equal(seen["value"], trained.error.numpy(), equal_nan=True) and seen["seed"].tolist() == list(range(6))
        for seed, value in zip(unseen["seed"], unseen["value"], strict=True):
            if seed in trained.diverged:
                assert np.isnan(value)
                continue
            net = trained.network(seed).double()
            wrong = [int(net(x[None])[0].argmax()) != int(label) for x, label in zip(fresh.x, fresh.label, strict=True)]
            assert value == pytest.approx(sum(wrong) / 50)
    assert result.trained(hot).diverged and table[table["batch_size"] == "40"]["value"].between(0.01, 0.99).any()


def test_the_mirror_takes_the_gradient_of_every_bias_and_no_other():
    """Even positions: rounding. Random ones: not. By finite differences of the loss in float64 for one bias and one weight."""
    even, random = (samples.gradients(Condition(positions=positions), range(3)) for positions in ("even", "random"))
    assert even["biases"].max() < 1e-7 and even["weights"].min() > 1e-3
    assert random["biases"].min() > 1e-5 and random["weights"].min() > 1e-3
    sample, step = SMALL.sample(dtype=DOUBLE), 1e-6
    assert torch.allclose(sample.x.flip(0).sort(0).values, (-sample.x).sort(0).values, atol=1e-6)
    expected = {"biases": [], "weights": []}
    for name, parameter in (net := SMALL.template().double()).named_parameters():
        for i in range(parameter.numel()):
            losses = []
            for sign in (1, -1):
                net.redraw(2)
                parameter.data.view(-1)[i] += sign * step
                logits = net(sample.x).detach()
                losses.append(float((logits.logsumexp(1) - logits[torch.arange(40), sample.label]).mean()))
            expected["biases" if "bias" in name else "weights"].append(abs(losses[0] - losses[1]) / (2 * step))
    found = samples.gradients(SMALL, [2]).iloc[0]
    assert found["weights"] == pytest.approx(max(expected["weights"]), rel=1e-3) and max(expected["biases"]) < 1e-8


def test_listed_backwards_a_sample_has_the_same_points():
    sample = Condition().sample()
    found = samples.backwards(sample)
    assert torch.equal(found.x[0], sample.x[-1]) and found.label.tolist() == sample.label.tolist()[::-1]
    assert torch.equal(found.position.flip(0), sample.position) and rows_of(found.x) == rows_of(sample.x)


def test_on_even_points_the_first_step_depends_on_the_listing():
    """Adam's first step has up to the size of the rate. Where its sign is rounding, two listings part by up to twice that."""
    table = {positions: samples.listings(Condition(positions=positions, updates=2), range(4), [1, 2]) for positions in ("even", "random")}
    first = {positions: rows[rows["updates"] == 1] for positions, rows in table.items()}
    assert first["even"]["apart"].min() > 1e-3 > 1e-4 > first["random"]["apart"].max()
    assert first["even"]["apart"].max() <= 0.02 * 1.001
    assert (table["even"]["gap"] >= 1).all() and len(table["even"]) == 8
    both = samples.mirrored({"even": Condition(positions="even", updates=2)}, range(4), [1, 2])
    assert both["apart after 1"]["even"] == first["even"]["apart"].median()
    assert both["gap differs"]["even"] == (table["even"].query("updates == 2")["gap"] > 1.1).mean()
