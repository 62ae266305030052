"""Networks of growing depth: the readout stays, both engines agree, a seed has the same start and minibatches at every depth."""

import pytest
import torch

from riemlib.companion import deep
from riemlib.companion.studies import Condition
from riemlib.training import Ensemble

pytestmark = pytest.mark.usefixtures("untyped")
SEEDS = (3, 8)


def ensemble(depth: int = 4, start: str = "one path") -> Ensemble:
    net = deep.STARTS[start]([2] * (depth + 1), step=1 / depth, seed=0)
    flat = torch.stack([torch.cat([value.flatten() for value in net.draw(seed)]) for seed in SEEDS]).float()
    return Ensemble(net, flat)


@pytest.mark.parametrize("engine", ["fused", "torch"])
def test_all_but_the_readout_is_trained(engine):
    condition = Condition(updates=60, depth=4, step=0.25)
    sample, found = condition.sample(), ensemble()
    before = found.flat.clone()
    loss = deep.descend(found, condition, sample.x.mT.contiguous(), sample.label, SEEDS, engine)
    moved = (found.flat - before).detach().abs()
    assert float(moved[:, -6:].max()) < 1e-12 and (moved[:, :-6] > 1e-4).all()
    assert loss.shape == (2, 60) and (loss[:, -10:].mean(1) < loss[:, :10].mean(1)).all()


def test_both_engines_train_the_same_networks():
    condition = Condition(updates=20, depth=4, step=0.25)
    sample, found = condition.sample(), [ensemble(), ensemble()]
    for each, engine in zip(found, ("fused", "torch"), strict=True):
        deep.descend(each, condition, sample.x.mT.contiguous(), sample.label, SEEDS, engine)
    assert torch.allclose(found[0].flat, found[1].flat, atol=1e-4)


def test_tasks_and_tables(tmp_path):
    how = {"updates": 4, "folder": tmp_path, "workers": 1, "progress": False}
    trained = {start: deep.train(start, [4, 8, 16], SEEDS, **how) for start in deep.STARTS}
    for found in trained.values():
        assert [*found] == [4, 8, 16] and found[8]["weights"].shape == (2, 8, 6)
        again = deep.train("one path", [8], SEEDS[::-1], **how)[8]
        assert torch.equal(again["weights"].flip(0), trained["one path"][8]["weights"])  # whatever runs beside it
    path, own = (deep.pairs(found, SEEDS).groupby("depth")["untrained"].mean() for found in trained.values())
    assert [*path.index] == [4, 8] and path[8] < 0.6 * path[4] and own[8] > 0.8 * own[4]
    runs = deep.runs(trained["one path"], SEEDS)
    assert len(runs) == 6 and runs["error"].between(0, 1).all() and (runs["variation"] > 0).all()


def test_a_network_of_the_tables_is_the_one_that_was_trained(tmp_path):
    found = deep.train("independent layers", [4], SEEDS, updates=3, folder=tmp_path, workers=1, progress=False)[4]
    x = Condition().sample(dtype=torch.float64).x[::10]
    assert torch.allclose(deep.network(found["weights"][1]).coordinates(x)[-1], found["x"][1].double(), atol=1e-5)
    assert not torch.allclose(deep.network(found["untrained"][1]).coordinates(x)[-1], found["x"][1].double(), atol=1e-3)


def test_the_error_is_that_of_the_fixed_readout(tmp_path):
    found = deep.train("one path", [4], SEEDS, updates=3, folder=tmp_path, workers=1, progress=False)[4]
    sample = Condition().sample(dtype=torch.float64)
    for weights, error in zip(found["weights"], found["error"], strict=True):
        x = deep.network(weights).coordinates(sample.x)[-1]
        logits = x @ torch.tensor([[-4.0, 0.0], [4.0, 0.0]], dtype=torch.float64).mT
        assert float(error) == pytest.approx(float((logits.argmax(1) != sample.label).double().mean()), abs=2e-3)
