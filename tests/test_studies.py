"""Studies: each network is what `fit` trains, each number of a table is what its measure gives for that network, and shards change nothing.

A seed's numbers are promised to the bit for its shard: the same condition and the same seeds in it. In a shard of other seeds they are
those of another batched computation, equal to rounding.
"""

import dataclasses
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
import workers
from reference import error

import riemlib as rl
from riemlib import charts, curves
from riemlib.companion import shards, studies
from riemlib.companion.studies import MEASURES, Condition

BASE = Condition(depth=3, points=40, batch_size=20, updates=10, positions="even")
OTHER = Condition(depth=2, points=30, batch_size=10, updates=5, positions="even", order=2)
RING = Condition(depth=2, points=30, batch_size=10, updates=5, positions="even", data="annulus")
WIDE = Condition(depth=3, points=40, batch_size=20, updates=10, positions="even", width=3, shared=True, turns=0.5, chart="unwound")
HOT = Condition(
    positions="even", depth=3, points=40, batch_size=20, updates=10, order=2, learning_rate=1e20
)  # some seeds overflow, others do not
ROUGH = Condition(
    positions="even", order=(1, 0, 1), depth=3, points=50, batch_size=20, updates=20, learning_rate=0.5
)  # no measure the same for all seeds
SETTINGS = ["network", *(field.name for field in dataclasses.fields(Condition))]


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No cluster and no folder of the user's, and small shards."""
    for name in ("RIEMLIB_SCHEDULER", "RIEMLIB_STUDIES", "RIEMLIB_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(studies, "SHARD", 2)


@pytest.fixture
def computed(monkeypatch) -> list:
    """What is computed in this process, in order: (function, seeds, measure if any)."""
    calls, work = [], shards.work

    def counted(task, *parent):
        calls.append((task.function.__name__, *(a for a in task.arguments[1:] if a != "cpu")))
        return work(task, *parent)

    monkeypatch.setattr(shards, "work", counted)
    return calls


def study(folder, *conditions, **settings):
    settings = {"seeds": range(4), "workers": 1, "progress": False, **settings}
    return studies.study(conditions or [BASE], folder=folder, **settings)


def bits(trained) -> tuple:
    return trained.seeds, *(x.numpy().tobytes() for x in (trained.error, trained.late_loss, trained.parameters))


# What a study trains.


@pytest.mark.parametrize("condition", [BASE, OTHER, RING, WIDE], ids=["base", "order 2", "annulus", "wide"])
def test_a_study_trains_what_fit_trains(condition, tmp_path, monkeypatch):
    """To the bit what `fit` gives for these settings, spelt out."""
    monkeypatch.setattr(studies, "SHARD", 100)
    single = {"dtype": torch.float32}
    sample = rl.annulus(30, **single) if condition is RING else rl.spiral(condition.points, turns=condition.turns, **single)
    if condition is WIDE:
        sample = rl.polar(sample, turns=0.5)
        sample = dataclasses.replace(sample, x=torch.cat([sample.x, torch.zeros(40, 1)], 1))
    net = rl.CkNetwork([sample.x.shape[1]] * (condition.depth + 1), order=condition.order, shared=condition.shared, seed=7, **single)
    settings = dict(batch_size=condition.batch_size, updates=condition.updates, learning_rate=condition.learning_rate)
    fit = rl.fit(net, sample, seeds=[5, 0, 3], progress=False, **settings)
    trained = study(tmp_path, condition, seeds=[5, 0, 3]).trained(condition)
    weights = [torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in fit.networks]
    assert trained.seeds == (5, 0, 3) and trained.condition == condition
    assert torch.equal(trained.error, fit.error) and torch.equal(trained.late_loss, fit.late_loss)
    assert torch.equal(trained.parameters, torch.stack(weights))
    for seed, net in zip(fit.seeds, fit.networks, strict=True):
        found = trained.network(seed)
        assert torch.equal(found(sample.x), net(sample.x)) and found.orders == net.orders
        assert not any(p.requires_grad for p in found.parameters())
    assert (trained.diverged, trained.solved.tolist()) == (fit.diverged, fit.solved.tolist())
    assert trained.typical_seed == fit.seeds[fit.typical()]


def test_every_setting_of_a_condition_counts(tmp_path):
    """Each is part of what is trained, and of the name under which it is kept."""
    network = dict(order=0, depth=4, width=3, step=0.5, shared=True)
    changes = dict(network, data="annulus", points=50, turns=0.5, chart="polar", batch_size=10, updates=11, learning_rate=2e-2)
    changes |= dict(optimiser="sgd", schedule="constant", positions="random")
    assert set(changes) == {f.name for f in dataclasses.fields(Condition)}
    conditions = [BASE, *(dataclasses.replace(BASE, **{name: value}) for name, value in changes.items())]
    result = study(tmp_path, *conditions, seeds=[0])
    assert result.runs["late_loss"].nunique() == len(conditions) == len(list(tmp_path.iterdir()))
    assert result.conditions == conditions


def test_random_positions_are_those_of_the_training_points_and_curves_are_even():
    """One draw for all conditions with as many points."""
    random = dataclasses.replace(BASE, positions="random")
    assert torch.equal(random.sample().x, rl.spiral(40, positions="random", dtype=torch.float32).x)
    assert torch.equal(random.sample().position, dataclasses.replace(random, turns=0.5, order=2).sample().position)
    assert torch.equal(random.sample(60).x, BASE.sample(60).x) and not torch.equal(random.sample().x, BASE.sample().x)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"seeds": []}, r"seeds are \[\]; at least one"),
        ({"seeds": [0, 1, 0]}, r"seeds are \[0, 1, 0\]; at least one, each once"),
        ({"seeds": [-1]}, "seeds is -1; at least 0"),
        ({"measures": ["length", "beauty"]}, r"\['beauty'\] unknown; some of roughness, length"),
        ({"workers": -1}, "workers is -1; at least 1"),
        ({"conditions": []}, "conditions is empty; at least one Condition"),
        ({"conditions": [dataclasses.replace(BASE, data="torus")]}, "data is 'torus', .*; spiral or annulus"),
        ({"conditions": [dataclasses.replace(BASE, chart="mercator")]}, "chart 'mercator'; .* cartesian, polar or unwound"),
        ({"conditions": [dataclasses.replace(BASE, batch_size=41)]}, "batch_size is 41, the sample has 40"),
        ({"conditions": [dataclasses.replace(BASE, width=1)]}, "width is 1; at least 2"),
    ],
)
def test_a_study_of_the_impossible_is_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        studies.study(**{"conditions": [BASE], "seeds": range(4), "workers": 1, "progress": False, "folder": tmp_path, **settings})
    assert list(tmp_path.iterdir()) == []


def test_one_layer_is_without_the_identity():
    base = Condition(depth=4, updates=3)
    for layer in range(1, 5):
        found = studies.without_identity(base, layer)
        assert studies.plain_layer(found.order) == layer and len(found.order) == 4 and sum(found.order) == 3
        assert found.network == "mixed" and found.updates == 3
    assert studies.plain_layer(base.order) is None
    for layer in (0, 5):
        with pytest.raises(ValueError, match=f"layer is {layer}"):
            studies.without_identity(base, layer)


# The tables.


@pytest.fixture(scope="session")
def rough(tmp_path_factory):
    """Three networks, and each measure of each of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "SHARD", 2)
        return study(tmp_path_factory.mktemp("rough"), ROUGH, seeds=[3, 1, 4], measures=list(MEASURES))


def test_the_runs_have_a_row_for_each_network_with_its_settings(tmp_path):
    result = study(tmp_path, OTHER, ROUGH, WIDE, seeds=[2, 0, 5])
    assert list(result.runs) == [*SETTINGS, "seed", "error", "late_loss", "solved", "diverged"]
    assert len(result.runs) == 9 and list(result.runs["seed"]) == [2, 0, 5] * 3
    assert list(result.runs["network"]) == ["C2"] * 3 + ["mixed"] * 3 + ["C1"] * 3
    for i, condition in enumerate((OTHER, ROUGH, WIDE)):
        rows, trained = result.runs.iloc[3 * i : 3 * i + 3], result.trained(condition)
        for name in SETTINGS[1:]:
            assert list(rows[name]) == [getattr(condition, name)] * 3, name
        assert rows["error"].tolist() == trained.error.tolist() and rows["late_loss"].tolist() == trained.late_loss.tolist()
        assert rows["solved"].tolist() == trained.solved.tolist() and rows["diverged"].tolist() == [False] * 3
    assert result.tables == {} and result.runs["error"].nunique() > 1


PLACES = {
    **{
        name: {"layer": 4}
        for name in ("length", "largest gap", "gap ratio", "straightness", "first axis", "turning", "components", "crosses")
    },
    **{name: {} for name in ("roughness", "error along the arms", "log condition", "log volume", "certified", "turned over")},
    "refined gaps": {"arm": 2, "stage": 5},
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_has_a_row_for_each_network_and_place(rough, name):
    """Layers 0 to L, or arms and stages; no two rows of one place; and the rows of a network carry its settings and results."""
    table, sizes = rough[name], PLACES[name]
    assert list(table) == [*SETTINGS, "seed", "error", "solved", *sizes, "value"]
    assert len(table) == 3 * int(np.prod([*sizes.values()]))
    assert not table.duplicated(["seed", *sizes]).any()
    for column, size in sizes.items():
        assert sorted(table[column].unique()) == list(range(size))
    joined = table.merge(rough.runs, on="seed", suffixes=("", " run"))
    assert len(joined) == len(table) and (joined["error"] == joined["error run"]).all() and (joined["solved"] == joined["solved run"]).all()
    assert table["value"].dtype == np.float64 and not table["value"].isna().any()
    assert table.groupby("seed")["value"].agg(tuple).nunique() > 1, "the same for all seeds"


@cache
def curve(points: int, dtype=torch.float64) -> rl.Sample:
    return ROUGH.sample(points, dtype)


def direct(net, name, layer=None, arm=None, stage=None) -> float:
    """One measure of one network, from its coordinates and its metric."""
    f, sample = (lambda x: net.coordinates(x)[-1 if layer is None else layer]), curve(50)
    long, sparse, dense = curve(4000), curve(400), curve(40_000)
    g = rl.pullback_metrics(net, sample.x)[0]
    match name:
        case "roughness":
            return curves.roughness(torch.stack(net.coordinates(long.x)))
        case "length" | "largest gap" | "gap ratio" | "straightness" | "first axis" | "turning":
            return getattr(curves, name.replace(" ", "_"))(f(long.x), long.label)
        case "components":
            return curves.components(f(sparse.x), sparse.label)
        case "refined gaps":
            return curves.refined_gaps(f, curves.arms(sample.x, sample.label)[arm])[stage]
        case "crosses":
            return curves.cross(f, *curves.arms(long.x, long.label))
        case "error along the arms":
            return (net(dense.x).argmax(1) != dense.label).double().mean()
        case "log condition":
            return torch.linalg.cond(g).median().log10()
        case "log volume":
            return (torch.linalg.slogdet(g).logabsdet / 2).median()
        case "certified":
            return sum(charts.certificates(net)) / 3
        case "turned over":
            J = torch.func.vmap(torch.func.jacrev(lambda point: f(point[None])[0]))(sample.x)
            kept = (torch.linalg.det(J) > 0).double().mean()
            return min(kept, 1 - kept)


@torch.no_grad()
@pytest.mark.parametrize("name", MEASURES)
def test_each_number_is_the_measure_of_its_network_at_its_place(rough, name):
    """Against the measure of the network by itself; the control is the network of another seed."""
    networks = {seed: rough.trained(ROUGH).network(seed).double() for seed in (3, 1, 4)}
    table = rough[name]
    rows = table.sample(n=min(len(table), 8), random_state=1) if name != "crosses" else table[table["layer"] % 3 == 0]
    places = [{column: int(row[column]) for column in PLACES[name]} for _, row in rows.iterrows()]
    found = torch.tensor(rows["value"].to_numpy())
    expected = [float(direct(networks[seed], name, **place)) for seed, place in zip(rows["seed"], places, strict=True)]
    assert error([found], [torch.tensor(expected, dtype=torch.float64)]) < 1e-9
    if name in ("roughness", "length", "log condition"):
        other = [float(direct(networks[{3: 1, 1: 4, 4: 3}[seed]], name, **place)) for seed, place in zip(rows["seed"], places, strict=True)]
        assert error([found], [torch.tensor(other, dtype=torch.float64)]) > 1e-3


@torch.no_grad()
def test_images_are_those_of_each_network(rough):
    """The same points for all networks, or points for each."""
    trained, x = rough.trained(ROUGH), ROUGH.sample(dtype=torch.float64).x
    each = torch.stack([x, 2 * x, 3 * x])
    for i, seed in enumerate(trained.seeds):
        net = trained.network(seed).double()
        assert error([trained.images(x)[i]], [torch.stack(net.coordinates(x))]) < 1e-12
        assert error([trained.images(each)[i]], [torch.stack(net.coordinates(each[i]))]) < 1e-12


def test_only_the_measures_asked_for_are_in_the_result(tmp_path):
    result = study(tmp_path, measures=["gap ratio"], seeds=[0])
    assert list(result.tables) == ["gap ratio"]
    with pytest.raises(KeyError, match="'length' was not measured; gap ratio was"):
        result["length"]
    with pytest.raises(KeyError):
        result.trained(OTHER)
    with pytest.raises(ValueError, match="seed is 7; one of the seeds 0 to 0"):
        result.trained(BASE).network(7)


def test_a_seed_that_diverged_is_nan_in_every_row_and_leaves_the_others_alone(tmp_path):
    result = study(tmp_path, HOT, seeds=range(6), measures=["roughness", "length", "crosses", "certified"])
    trained = result.trained(HOT)
    with pytest.warns(RuntimeWarning, match="seeds diverged"):
        fit = rl.fit(HOT.template(), HOT.sample(), seeds=range(6), batch_size=20, updates=10, learning_rate=1e20, progress=False)
    gone = set(fit.diverged)
    assert 0 < len(gone) < 6 and trained.diverged == fit.diverged and trained.typical_seed not in gone
    assert set(result.runs[result.runs["diverged"]]["seed"]) == gone == set(result.runs[result.runs["error"].isna()]["seed"])
    assert not result.runs[result.runs["diverged"]]["solved"].any()
    alone = study(tmp_path / "alone", HOT, seeds=[s for s in range(6) if s not in gone], measures=["certified"])
    assert alone.trained(HOT).diverged == ()
    for name, table in result.tables.items():
        assert (table["value"].isna() == table["seed"].isin(gone)).all(), name


def test_a_network_that_collapsed_is_not_one_that_diverged(tmp_path):
    """Plain layers at a huge rate saturate: the metric is zero, its condition infinite, which is not the NaN of a diverged seed."""
    collapsed = dataclasses.replace(BASE, order=0, learning_rate=1e10)
    result = study(tmp_path, collapsed, seeds=[0], measures=["log condition", "log volume"])
    assert result.trained(collapsed).diverged == ()
    assert result["log volume"]["value"].tolist() == [-np.inf] and result["log condition"]["value"].tolist() == [np.inf]


# The same bits.


def test_numbers_do_not_depend_on_the_company_or_the_order(tmp_path):
    """Other conditions beside it, before it or after it, more measures: the same bits, and the rows in the order of the conditions."""
    alone = study(tmp_path / "1", measures=["length"])
    beside = study(tmp_path / "2", RING, BASE, OTHER, measures=["roughness", "length"])
    again = study(tmp_path / "3", OTHER, BASE, measures=["length", "certified"])
    for result in (beside, again):
        assert bits(result.trained(BASE)) == bits(alone.trained(BASE))
        own = result["length"][result["length"]["depth"] == 3].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, alone["length"], check_exact=True)
    assert bits(beside.trained(OTHER)) != bits(alone.trained(BASE))
    assert beside.runs["data"].tolist() == ["annulus"] * 4 + ["spiral"] * 8 and again.runs["depth"].tolist() == [2] * 4 + [3] * 4


def test_a_seed_has_the_bits_of_its_shard(tmp_path):
    """Shards are (0, 1), (2, 3), ...: with more seeds, or some left out shard by shard, the same bits; in another shard, to rounding."""
    whole = study(tmp_path / "whole", seeds=range(6), measures=["length"])
    for i, seeds in enumerate(([0, 1], [2, 3, 4, 5], [4, 5, 0, 1])):
        part = study(tmp_path / str(i), seeds=seeds, measures=["length"])
        rows = pd.concat([whole["length"][whole["length"]["seed"] == seed] for seed in seeds], ignore_index=True)
        pd.testing.assert_frame_equal(part["length"], rows, check_exact=True)
        assert torch.equal(part.trained(BASE).parameters, whole.trained(BASE).parameters[seeds])
    odd, whole = study(tmp_path / "odd", seeds=[1, 2]).trained(BASE).parameters, whole.trained(BASE).parameters
    assert error([odd], [whole[1:3]]) < 1e-3
    assert error([odd], [whole[2:4]]) > 1e-1


def test_conditions_that_are_equal_are_trained_once(tmp_path, computed):
    result = study(tmp_path, BASE, dataclasses.replace(BASE), OTHER, seeds=[0, 1])
    assert [name for name, *_ in computed] == ["train", "train"]
    assert result.conditions == [BASE, OTHER] and len(result.runs) == 4


def test_the_number_of_threads_of_the_process_does_not_matter(tmp_path):
    alone = study(tmp_path / "1").trained(BASE)
    torch.set_num_threads(2)
    try:
        assert bits(study(tmp_path / "2").trained(BASE)) == bits(alone)
        (inside,) = shards.compute([shards.Task(workers.threads, (0,))], folder=tmp_path, workers=1, progress=False)
        assert int(inside["threads"]) == 1 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_what_is_kept_is_neither_trained_nor_measured_again(tmp_path, computed):
    first = study(tmp_path, measures=["length", "gap ratio"])  # of one function
    assert computed == [("train", (0, 1)), ("train", (2, 3)), ("measure", (0, 1), "stretch"), ("measure", (2, 3), "stretch")]
    computed.clear()
    again = study(tmp_path, measures=["gap ratio", "length"])
    assert computed == [] and all(first[name].equals(again[name]) for name in first.tables)
    study(tmp_path, measures=["roughness", "length"])
    assert computed == [("measure", (0, 1), "smoothness"), ("measure", (2, 3), "smoothness")]
    computed.clear()
    assert bits(study(tmp_path, OTHER, BASE).trained(BASE)) == bits(first.trained(BASE))
    study(tmp_path, seeds=range(6))
    assert computed == [("train", (0, 1)), ("train", (2, 3)), ("train", (4, 5))]  # of the other condition, and of the new seeds


def test_a_device_is_used_from_this_process(tmp_path, monkeypatch):
    """Even where there is a cluster, whose workers need not have it; measures go to the cluster. "cpu:0" stands for a device here."""
    asked, compute = [], studies.compute
    monkeypatch.setattr(
        studies, "compute", lambda tasks, **how: asked.append(how) or compute(tasks, folder=tmp_path, workers=1, progress=False)
    )
    result = study(tmp_path, scheduler="tcp://nowhere", workers=2, device="cpu:0", seeds=[0], measures=["certified"])
    assert [(how["workers"], how["scheduler"]) for how in asked] == [(1, ""), (2, "tcp://nowhere")]
    assert error([result.trained(BASE).parameters], [study(tmp_path, seeds=[0]).trained(BASE).parameters]) == 0


def test_networks_trained_on_a_gpu_are_brought_home_and_kept_apart(cuda, tmp_path):
    """Measured on the CPU and close to what the CPU trains, but not the same shards."""
    here, there = (study(tmp_path, measures=["length"], device=str(device)).trained(BASE) for device in ("cpu", cuda))
    assert len(list(tmp_path.iterdir())) == 8
    assert {x.device.type for x in (there.error, there.late_loss, there.parameters)} == {"cpu"}
    assert error([there.parameters], [here.parameters]) < 1e-3
