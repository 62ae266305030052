"""Studies of data of one's own: a function of a module, whose name is in the tables and whose code and points are in the shards' names."""

import dataclasses
import functools
import json
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from reference import error

import riemlib as rl
from riemlib.companion import shards, studies
from riemlib.companion.studies import DATA, MEASURES, OF_CURVES, Condition

MODULE = """
    from pathlib import Path

    import numpy as np
    import torch

    import riemlib as rl

    FILE = Path(__file__).with_name("cells.csv")


    def drawn(points, dtype):
        return rl.spiral(points, turns=0.5, positions="random", seed=3, dtype=dtype)


    def scattered(points, dtype):
        sample = drawn(points, dtype)
        return sample.x, sample.label


    def table(points, dtype):
        values = np.loadtxt(FILE, delimiter=",")
        return values[:, :2], np.where(values[:, 2] > 0, "zebra", "ant")


    def three(points, dtype):
        x = torch.randn(points, 3, dtype=dtype, generator=torch.Generator().manual_seed(0))
        return rl.Sample(x, torch.arange(points) % 3, x[:, 0])


    def wrong(points, dtype):
        return 1


    nameless = lambda points, dtype: drawn(points, dtype)


    class Kinds:
        @staticmethod
        def drawn(points, dtype):
            return drawn(points, dtype)
"""
SMALL = Condition(depth=3, points=40, batch_size=20, updates=10)
PLACE_FREE = [name for name in MEASURES if name not in OF_CURVES]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user, importable here and in the processes that compute shards, and a table beside it."""
    for name in ("RIEMLIB_SCHEDULER", "RIEMLIB_STUDIES", "RIEMLIB_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own_data.py").write_text(textwrap.dedent(MODULE))
    sample = rl.spiral(40, turns=0.5, positions="random")
    np.savetxt(folder / "cells.csv", np.c_[sample.x, sample.label], delimiter=",")
    monkeypatch.syspath_prepend(folder)
    import own_data

    yield own_data
    del sys.modules["own_data"]
    shards.code_of.cache_clear()


def small(data, **settings) -> Condition:
    return dataclasses.replace(SMALL, data=data, **settings)


def study(folder, *conditions, **settings):
    return studies.study(conditions, folder=folder, **{"seeds": [0, 1], "workers": 1, "progress": False, **settings})


def test_a_condition_holds_the_name_of_its_function(own):
    condition = small(own.drawn)
    assert condition.data == condition.settings()["data"] == "own_data.drawn"
    assert condition == small("own_data.drawn") != small(own.scattered) and hash(condition) == hash(small(own.drawn))
    assert json.loads(json.dumps(dataclasses.asdict(condition)))["data"] == "own_data.drawn"
    assert dataclasses.replace(condition, depth=2).data == "own_data.drawn"
    for name, function in DATA.items():
        assert Condition(data=name).data == name and function is getattr(rl, name)


def test_the_sample_is_what_the_function_gives(own):
    condition, dtype = small(own.drawn), torch.float64
    whole = condition.sample()
    expected = own.drawn(40, torch.float32)
    assert torch.equal(whole.x, expected.x) and torch.equal(whole.label, expected.label) and torch.equal(whole.position, expected.position)
    finer = condition.sample(90, dtype)
    assert len(finer) == 90 and finer.x.dtype == finer.position.dtype == dtype
    scattered = small(own.scattered, width=4).sample()
    assert scattered.position is None and torch.equal(scattered.x[:, :2], expected.x) and not scattered.x[:, 2:].any()
    names = small(own.table).sample(dtype=dtype)
    assert len(names) == 40 and names.x.dtype == dtype and torch.equal(names.label, expected.label)
    assert error([small(own.drawn, chart="polar").sample().x[:, 0]], [expected.x.norm(dim=1)]) < 1e-6
    assert small(own.three, width=3).template().readout.out_features == 3 and small("spiral").template().readout.out_features == 2


def test_a_study_trains_what_fit_trains_on_these_points(own, tmp_path):
    condition = small(own.scattered)
    result = study(tmp_path, condition)
    net = rl.CkNetwork([2] * 4, dtype=torch.float32, device="cpu")
    fit = rl.fit(net, own.scattered(40, torch.float32), seeds=[0, 1], batch_size=20, updates=10, learning_rate=1e-2, progress=False)
    assert torch.equal(result.trained(condition).error, fit.error) and torch.equal(result.trained(condition).late_loss, fit.late_loss)
    assert result.runs["data"].tolist() == ["own_data.scattered"] * 2
    assert (
        error([result.trained(condition).parameters[1]], [torch.nn.utils.parameters_to_vector(fit.networks[1].parameters()).detach()]) == 0
    )


def test_processes_that_compute_shards_find_the_function(own, tmp_path):
    """The same bits there as here."""
    conditions = [small(own.drawn), small(own.table)]
    here = study(tmp_path / "here", *conditions, measures=["certified"])
    there = study(tmp_path / "there", *conditions, measures=["certified"], workers=2)
    pd.testing.assert_frame_equal(here.runs, there.runs, check_exact=True)
    pd.testing.assert_frame_equal(here["certified"], there["certified"], check_exact=True)


def test_all_measures_of_points_on_curves(own, tmp_path):
    """With positions every measure is there."""
    result = study(tmp_path, small(own.drawn), measures=list(MEASURES))
    assert all(len(result[name]) and not result[name]["value"].isna().any() for name in MEASURES)


def test_measures_of_points_without_order(own, tmp_path):
    condition = small(own.scattered)
    result = study(tmp_path, condition, measures=PLACE_FREE)
    with_order = study(tmp_path, small(own.drawn), measures=PLACE_FREE)
    for name in PLACE_FREE:
        assert result[name]["value"].tolist() == with_order[name]["value"].tolist(), name
    for name in OF_CURVES:
        with pytest.raises(ValueError, match=rf"of curves \({name}\), and data 'own_data.scattered' has points without order"):
            study(tmp_path, condition, measures=["roughness", name])
    with pytest.raises(ValueError, match="data 'own_data.three' has 3 arms; two are needed"):
        study(tmp_path, small(own.three, width=3), measures=["crosses"])
    assert len(study(tmp_path, small(own.three, width=3), measures=["gap ratio", "error along the arms"])["gap ratio"]) == 2 * 4


@pytest.fixture
def computed(monkeypatch) -> list:
    """The names of the functions of the tasks that are computed in this process."""
    calls, work = [], shards.work
    monkeypatch.setattr(shards, "work", lambda task, *parent: calls.append(task.function.__name__) or work(task, *parent))
    return calls


def test_shards_are_named_by_the_code_and_the_points_of_the_function(own, tmp_path, computed):
    """A change of either trains anew; a change of what the function does not use does not."""
    folder, file = tmp_path / "kept", tmp_path / "own" / "own_data.py"
    both = ["train", "measure"]

    def again(data) -> list:
        computed.clear()
        study(folder, small(data), measures=["certified"])
        return list(computed)

    assert again(own.drawn) == both and again(own.drawn) == []
    assert again(own.scattered) == both  # the same points, by another function
    text = file.read_text()
    file.write_text(text.replace("return 1", "return 2"))
    shards.code_of.cache_clear()
    assert again(own.drawn) == []
    file.write_text(text.replace("turns=0.5", "turns=0.5 + 0.0"))
    shards.code_of.cache_clear()
    assert again(own.drawn) == both and again(own.scattered) == both
    assert again(own.table) == both and again(own.table) == []
    values = np.loadtxt(own.FILE, delimiter=",")
    values[0, 0] += 0.5
    np.savetxt(own.FILE, values, delimiter=",")  # no code has changed
    assert again(own.table) == both and again(own.table) == []


def local(points, dtype):
    return rl.spiral(points, dtype=dtype)


@pytest.mark.parametrize(
    "function",
    [lambda points, dtype: rl.spiral(points), functools.partial(rl.spiral, turns=2.0), local.__call__, [].append],
    ids=["lambda", "partial", "method", "builtin"],
)
def test_a_function_that_others_cannot_find_is_refused(function):
    with pytest.raises(ValueError, match="data is .*; a function at the top of a module that can be imported is needed"):
        Condition(data=function)


def test_functions_within_others_and_of_a_script_are_refused(own, monkeypatch):
    def inner(points, dtype):
        return rl.spiral(points)

    for function in (inner, own.nameless, own.Kinds.drawn):
        with pytest.raises(ValueError, match="no lambda, and nothing from a notebook or from the script that runs"):
            Condition(data=function)
    monkeypatch.setattr(local, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "local", local, raising=False)
    with pytest.raises(ValueError, match="data is local of __main__"):
        Condition(data=local)


def test_data_that_do_not_fit_are_refused(own, tmp_path):
    for name in ("torus", "own_data.nothing", "no_such_module.f", "riemlib.nothing.f", ""):
        with pytest.raises(ValueError, match=f"data is '{name}', .*; spiral or annulus "):
            small(name).sample()
    with pytest.raises(ValueError, match="data 'own_data.table' has 40 points, points is 30; points=40 is needed"):
        study(tmp_path, small(own.table, points=30))
    with pytest.raises(ValueError, match="width is 2, data 'own_data.three' has 3 coordinates"):
        study(tmp_path, small(own.three))
    with pytest.raises(TypeError, match="sample is a int"):
        study(tmp_path, small(own.wrong))


def test_a_name_may_be_registered(own, tmp_path, monkeypatch, computed):
    """In this process; its code is in the names of the shards."""
    monkeypatch.setitem(DATA, "cells", own.drawn)
    named, direct = study(tmp_path, small("cells")), study(tmp_path, small(own.drawn))
    assert torch.equal(named.trained(small("cells")).parameters, direct.trained(small(own.drawn)).parameters)
    assert named.runs["data"].tolist() == ["cells"] * 2
    computed.clear()
    monkeypatch.setitem(DATA, "cells", own.scattered)
    study(tmp_path, small("cells"))
    assert computed == ["train"]
