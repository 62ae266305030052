"""Studies: the same bits whoever computes them, kept and resumed whatever happens, and measures that are what they say.

A seed's numbers are promised to the bit for its shard: the same condition and the same seeds in it. In a shard of other seeds they are
those of another batched computation, the same to rounding.
"""

import ast
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import workers
from reference import error
from safetensors.numpy import save_file

import riemlib as rl
from riemlib import charts, studies, topology
from riemlib.studies import Condition, Task

ROOT = Path(studies.__file__).parents[1]
BASE = Condition(depth=3, points=40, batch_size=20, updates=10)
OTHER = Condition(depth=2, points=30, batch_size=10, updates=5, order=2)
RING = Condition(depth=2, points=30, batch_size=10, updates=5, data="annulus")
WIDE = Condition(depth=3, points=40, batch_size=20, updates=10, width=3, shared=True, turns=0.5, chart="unwound")
HOT = Condition(depth=3, points=40, batch_size=20, updates=10, order=2, learning_rate=1e20)  # some seeds overflow, others do not
CODE = studies.code()


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No cluster and no folder of the user's, small shards, and the code read once."""
    for name in ("RIEMLIB_SCHEDULER", "RIEMLIB_STUDIES", "RIEMLIB_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(studies, "SHARD", 2)
    monkeypatch.setattr(studies, "code", lambda: CODE)


@pytest.fixture
def computed(monkeypatch) -> list:
    """What is computed in this process, in order: (function, seeds, measure if any)."""
    calls, work = [], studies.work

    def counted(key, function, arguments, inputs):
        calls.append((function.__name__, *(a for a in arguments[1:] if a != "cpu")))
        return work(key, function, arguments, inputs)

    monkeypatch.setattr(studies, "work", counted)
    return calls


def study(folder, conditions=None, **settings):
    settings = {"seeds": range(4), "workers": 1, "progress": False, **settings}
    return studies.study(conditions or {"base": BASE}, folder=folder, **settings)


def same(a, b) -> bool:
    """Whether two conditions' runs agree in every bit."""

    def bits(runs):
        trained = [runs.error, runs.late_loss, runs.parameters]
        return runs.seeds, [x.numpy().tobytes() for x in trained], {name: x.numpy().tobytes() for name, x in runs.measured.items()}

    return bits(a) == bits(b)


def shards(folder) -> list[Path]:
    return sorted(Path(folder).glob("*.safetensors"))


# What a study is.


@pytest.mark.parametrize("condition", [BASE, OTHER, RING, WIDE], ids=["base", "order 2", "annulus", "wide"])
def test_a_study_is_fit(condition, tmp_path, monkeypatch):
    """To the bit what `fit` gives for these settings, spelt out."""
    monkeypatch.setattr(studies, "SHARD", 100)
    single = {"dtype": torch.float32}
    sample = rl.annulus(30, **single) if condition is RING else rl.spiral(condition.points, turns=condition.turns, **single)
    if condition is WIDE:
        sample = rl.polar(sample, turns=0.5)
        sample = dataclasses.replace(sample, x=torch.cat([sample.x, torch.zeros(40, 1)], 1))
    net = rl.CkNetwork([sample.x.shape[1]] * (condition.depth + 1), order=condition.order, shared=condition.shared, seed=7, **single)
    settings = dict(batch_size=condition.batch_size, updates=condition.updates, learning_rate=condition.learning_rate)
    fit = rl.fit(net, sample, seeds=range(5), progress=False, **settings)
    runs = study(tmp_path, {"a": condition}, seeds=range(5))["a"]
    weights = [torch.cat([p.detach().flatten() for p in net.parameters()]) for net in fit.networks]
    assert runs.seeds == (0, 1, 2, 3, 4) and runs.condition == condition and runs.measured == {}
    assert torch.equal(runs.error, fit.error) and torch.equal(runs.late_loss, fit.late_loss)
    assert torch.equal(runs.parameters, torch.stack(weights))
    for i, net in enumerate(fit.networks):
        found = runs.network(i)
        assert torch.equal(found(sample.x), net(sample.x)) and found.orders == net.orders
        assert not any(p.requires_grad for p in found.parameters())
    assert (runs.diverged, runs.solved.tolist(), runs.typical()) == (fit.diverged, fit.solved.tolist(), fit.typical())


def test_every_setting_of_a_condition_counts(tmp_path):
    """Each is part of what is trained, and of the name under which it is kept."""
    network = dict(order=0, depth=4, width=3, step=0.5, shared=True)
    changes = dict(network, data="annulus", points=50, turns=0.5, chart="polar", batch_size=10, updates=11, learning_rate=2e-2)
    assert set(changes) == {f.name for f in dataclasses.fields(Condition)}
    conditions = {"base": BASE, **{name: dataclasses.replace(BASE, **{name: value}) for name, value in changes.items()}}
    runs = study(tmp_path, conditions, seeds=[0])
    assert len({run.late_loss.numpy().tobytes() for run in runs.values()}) == len(conditions) == len(shards(tmp_path))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"seeds": []}, r"seeds are \[\]; at least one"),
        ({"seeds": [0, 1, 0]}, r"seeds are \[0, 1, 0\]; at least one, each once"),
        ({"seeds": [-1]}, "seeds is -1; at least 0"),
        ({"measures": ["stretch", "beauty"]}, r"\['beauty'\] unknown; some of smoothness, stretch"),
        ({"workers": -1}, "workers is -1; at least 1"),
        ({"conditions": {"a": dataclasses.replace(BASE, data="torus")}}, "data is 'torus', .*; spiral or annulus"),
        ({"conditions": {"a": dataclasses.replace(BASE, chart="mercator")}}, "chart 'mercator'; .* cartesian, polar or unwound"),
        ({"conditions": {"a": dataclasses.replace(BASE, batch_size=41)}}, "batch_size is 41, the sample has 40"),
    ],
)
def test_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        study(tmp_path, **settings)
    assert shards(tmp_path) == []


def test_no_condition_is_no_work(tmp_path, computed):
    assert studies.study({}, seeds=[0], folder=tmp_path) == {} and computed == []


# What is measured.

SHAPES = {
    "smoothness": {"roughness": (3,)},
    "stretch": {"length": (3, 4), "gap ratio": (3, 4)},
    "connectedness": {"components": (3, 4), "refined gaps": (3, 2, 5)},
    "crossings": {"crosses": (3, 4), "error along the arms": (3,)},
    "flatness": {"turning": (3, 4), "probe": (3, 4)},
    "conditioning": {"log condition": (3,), "log volume": (3,)},
    "certificates": {"certified": (3,)},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Three networks, trained so roughly that no measure is the same for all, and each measure of each of them."""
    condition = dataclasses.replace(BASE, order=(1, 0, 1), points=50, updates=20, learning_rate=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studies, "SHARD", 2)
        patch.setattr(studies, "code", lambda: CODE)
        return study(tmp_path_factory.mktemp("measured"), {"a": condition}, seeds=[3, 1, 4], measures=list(studies.MEASURES))["a"]


def test_measures_have_a_row_for_each_seed(measured):
    """And one for each of the L + 1 layers where they look at layers."""
    assert set(SHAPES) == set(studies.MEASURES)
    expected = {name: shape for shapes in SHAPES.values() for name, shape in shapes.items()}
    assert {name: tuple(value.shape) for name, value in measured.measured.items()} == expected
    assert {value.dtype for value in measured.measured.values()} == {torch.float64}
    assert not any(value.isnan().any() for value in measured.measured.values())
    for name, value in measured.measured.items():
        assert len(value.unique(dim=0)) > 1, f"{name} is the same for all seeds"
        assert expected[name] != (3, 4) or len(value.unique(dim=1)[0]) > 1, f"{name} is the same at all layers"


def direct(net, condition) -> dict[str, torch.Tensor]:
    """Every measure of one network, from its coordinates and its metric."""
    sizes = (4000, condition.points, 400, 40_000)
    curve, sample, sparse, dense = (rl.spiral(n, turns=condition.turns, dtype=torch.float64) for n in sizes)
    layers = range(condition.depth + 1)
    images = net.coordinates(curve.x)
    g = rl.pullback_metrics(net, sample.x)[0]
    volumes = torch.linalg.slogdet(g).logabsdet / 2
    gaps = [topology.refined_gaps(lambda x: net.coordinates(x)[-1], arm) for arm in topology.arms(sample.x, sample.label)]
    halves = topology.arms(curve.x, curve.label)
    found = {
        "roughness": topology.roughness(torch.stack(images)),
        "length": [topology.length(x, curve.label) for x in images],
        "gap ratio": [topology.gap_ratio(x, curve.label) for x in images],
        "components": [topology.components(x, sparse.label) for x in net.coordinates(sparse.x)],
        "refined gaps": torch.stack(gaps),
        "crosses": [topology.cross(lambda x, l=l: net.coordinates(x)[l], *halves) for l in layers],
        "error along the arms": (net(dense.x).argmax(1) != dense.label).double().mean(),
        "turning": [topology.turning(x, curve.label) for x in images],
        "probe": [topology.linear_probe(x, sample.label) for x in net.coordinates(sample.x)],
        "log condition": torch.linalg.cond(g).median().log10(),
        "log volume": volumes.median(),
        "certified": sum(charts.certificates(net)) / condition.depth,
    }
    return {name: torch.as_tensor(value, dtype=torch.float64) for name, value in found.items()}


@torch.no_grad()
def test_measures_are_those_of_each_network_by_itself(measured):
    for i in range(3):
        expected = direct(measured.network(i).double(), measured.condition)
        assert set(expected) == set(measured.measured)
        for name, value in expected.items():
            assert error([measured.measured[name][i]], [value]) < 1e-9, (name, i)
    assert error([measured.measured["length"][0]], [measured.measured["length"][1]]) > 1e-3  # the control: another seed's


def test_curves_are_measured_in_more_points_than_are_trained_on(measured):
    """Neither the gaps nor the length are those of the 50 training points."""
    net, sample = measured.network(0).double(), measured.condition.sample(dtype=torch.float64)
    coarse = topology.gap_ratio(net.coordinates(sample.x)[-1], sample.label)
    assert error([coarse], [measured.measured["gap ratio"][0, -1]]) > 1e-3


def test_a_diverged_seed_is_a_row_of_nan_and_leaves_the_others_alone(tmp_path):
    runs = study(tmp_path, {"hot": HOT}, seeds=range(6), measures=list(studies.MEASURES))["hot"]
    with pytest.warns(RuntimeWarning, match="seeds diverged"):
        settings = dict(batch_size=20, updates=10, learning_rate=1e20, progress=False)
        fit = rl.fit(HOT.template(), HOT.sample(), seeds=range(6), **settings)
    gone = runs.error.isnan()
    assert 0 < int(gone.sum()) < 6 and runs.diverged == fit.diverged and len(runs.diverged) == int(gone.sum())
    for name, value in runs.measured.items():
        assert value[gone].isnan().all() and not value[~gone].isnan().any(), name
    for i in (~gone).nonzero().flatten().tolist():
        expected = direct(runs.network(i).double(), HOT)
        for name in ("roughness", "length", "components", "crosses", "certified"):
            assert error([runs.measured[name][i]], [expected[name]]) < 1e-9, (name, i)
    assert not runs.solved[gone].any() and runs.seeds[runs.typical()] not in runs.diverged


def test_a_network_that_collapsed_is_not_one_that_diverged(tmp_path):
    """Plain layers at a huge rate saturate: the metric is zero, its condition infinite, which is not the NaN of a diverged seed."""
    collapsed = dataclasses.replace(BASE, order=0, learning_rate=1e10)
    runs = study(tmp_path, {"a": collapsed}, seeds=[0], measures=["conditioning"])["a"]
    assert runs.diverged == ()
    assert runs.measured["log volume"].tolist() == [-np.inf] and runs.measured["log condition"].tolist() == [np.inf]


# The same bits.


def test_numbers_do_not_depend_on_the_company_or_the_order(tmp_path):
    """Other conditions beside it, before it or after it, under another name, more measures: the same bits."""
    alone = study(tmp_path / "1", measures=["stretch"])["base"]
    beside = study(tmp_path / "2", {"ring": RING, "mine": BASE, "other": OTHER}, measures=["smoothness", "stretch"])
    reversed_ = study(tmp_path / "3", {"other": OTHER, "base": BASE}, measures=["stretch", "certificates"])["base"]
    for runs in (beside["mine"], reversed_):
        kept = {name: runs.measured[name] for name in alone.measured}
        assert same(dataclasses.replace(runs, measured=kept), alone)
    assert not same(beside["other"], alone)
    assert list(beside) == ["ring", "mine", "other"]


def test_a_seed_has_the_bits_of_its_shard(tmp_path):
    """Shards are (0, 1), (2, 3), ...: with more seeds, or some left out shard by shard, the same bits; in another shard, to rounding."""
    whole = study(tmp_path / "whole", seeds=range(6), measures=["stretch"])["base"]
    for i, seeds in enumerate(([0, 1], [2, 3, 4, 5], [4, 5, 0, 1])):
        part = study(tmp_path / str(i), seeds=seeds, measures=["stretch"])["base"]
        assert part.seeds == tuple(seeds)
        rows = {name: value[seeds] for name, value in whole.measured.items()}
        rest = {name: getattr(whole, name)[seeds] for name in ("error", "late_loss", "parameters")}
        assert same(part, dataclasses.replace(whole, seeds=tuple(seeds), measured=rows, **rest))
    odd = study(tmp_path / "odd", seeds=[1, 2])["base"]
    assert error([odd.parameters], [whole.parameters[1:3]]) < 1e-3
    assert error([odd.parameters], [whole.parameters[2:4]]) > 1e-1


def test_conditions_that_are_equal_are_trained_once(tmp_path, computed):
    runs = study(tmp_path, {"a": BASE, "b": dataclasses.replace(BASE), "c": OTHER}, seeds=[0, 1])
    assert [name for name, *_ in computed] == ["train", "train"]
    assert same(runs["a"], runs["b"]) and not same(runs["a"], runs["c"])


def test_the_number_of_threads_of_the_process_does_not_matter(tmp_path):
    alone = study(tmp_path / "1")["base"]
    torch.set_num_threads(2)
    try:
        assert same(study(tmp_path / "2")["base"], alone)
        (inside,) = studies.compute([Task(workers.threads, (0,))], folder=tmp_path, workers=1, progress=False)
        assert int(inside["threads"]) == 1 and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_networks_trained_on_a_device_are_brought_home_and_kept_apart(cuda, tmp_path):
    """Measured on the CPU and close to what the CPU trains, but not the same shards."""
    here, there = (study(tmp_path, measures=["stretch"], device=str(device))["base"] for device in ("cpu", cuda))
    assert len(shards(tmp_path)) == 8
    assert {x.device.type for x in (there.error, there.late_loss, there.parameters, *there.measured.values())} == {"cpu"}
    assert error([there.parameters], [here.parameters]) < 1e-3


# What is kept.


def test_what_is_kept_is_not_computed_again(tmp_path, computed):
    first = study(tmp_path, measures=["stretch"])["base"]
    assert computed == [("train", (0, 1)), ("train", (2, 3)), ("measure", (0, 1), "stretch"), ("measure", (2, 3), "stretch")]
    assert len(shards(tmp_path)) == 4 == len(list(tmp_path.iterdir()))
    computed.clear()
    assert same(study(tmp_path, measures=["stretch"])["base"], first) and computed == []
    study(tmp_path, measures=["smoothness", "stretch"])
    assert computed == [("measure", (0, 1), "smoothness"), ("measure", (2, 3), "smoothness")]
    computed.clear()
    assert same(study(tmp_path, {"other": OTHER, "again": BASE}, measures=["stretch"])["again"], first)
    assert len(computed) == 4 and len(shards(tmp_path)) == 10
    computed.clear()
    study(tmp_path, seeds=range(6))
    assert computed == [("train", (4, 5))]


def test_the_folder_of_the_environment(tmp_path, monkeypatch, computed):
    monkeypatch.setenv("RIEMLIB_STUDIES", str(tmp_path / "deep" / "er"))
    study(None)
    assert len(shards(tmp_path / "deep" / "er")) == 2
    study(tmp_path / "deep" / "er")
    assert len(computed) == 2


def flip(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


DAMAGE = {
    "truncated": lambda raw: raw[: len(raw) // 2],
    "one byte short": lambda raw: raw[:-1],
    "a bit of a number": lambda raw: flip(raw, len(raw) - 3),
    "a bit of the header": lambda raw: flip(raw, 30),
    "empty": lambda raw: b"",
    "garbage": lambda raw: b"\x93" * len(raw),
    "text": lambda raw: b"not found",
    "longer": lambda raw: raw + b"\0",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_shard_is_computed_anew(damage, tmp_path, computed):
    """And only that one; it is whole again after."""
    first = study(tmp_path)["base"]
    paths = {path: path.read_bytes() for path in shards(tmp_path)}
    victim = shards(tmp_path)[1]
    victim.write_bytes(damage(paths[victim]))
    computed.clear()
    assert same(study(tmp_path)["base"], first) and len(computed) == 1
    assert {path: path.read_bytes() for path in shards(tmp_path)} == paths
    computed.clear()
    study(tmp_path)
    assert computed == []


def test_every_flipped_bit_is_noticed(tmp_path):
    """Header and data alike; and a file that somebody else wrote, without a digest, is none of ours."""
    path = tmp_path / "shard.safetensors"
    result = {"error": np.array([0.1, np.nan], np.float32), "late_loss": np.arange(6.0).reshape(2, 3), "parameters": np.ones((2, 1, 3))}
    studies.write(result, path)
    kept = studies.read(path)
    assert kept.keys() == result.keys() and all(kept[name].dtype == value.dtype for name, value in result.items())
    assert all(kept[name].tobytes() == value.tobytes() and kept[name].shape == value.shape for name, value in result.items())
    raw = path.read_bytes()
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :])
        assert studies.read(path) is None, at
    save_file(result, path)
    assert studies.read(path) is None
    save_file(result, path, {"digest": "0" * 64})
    assert studies.read(path) is None and studies.read(tmp_path / "none") is None and studies.read(tmp_path) is None


def test_an_interrupted_write_leaves_the_old_shard(tmp_path, monkeypatch):
    path = tmp_path / "shard.safetensors"
    studies.write({"a": np.arange(3)}, path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        studies.write({"a": np.arange(4)}, path)
    assert studies.read(path)["a"].tolist() == [0, 1, 2] and shards(tmp_path) == [path]


def test_other_code_makes_shards_stale(tmp_path, computed, monkeypatch):
    study(tmp_path)
    monkeypatch.setattr(studies, "code", lambda: json.loads(json.dumps(CODE)))
    study(tmp_path)
    assert len(computed) == 2  # the same code read again is the same
    for changed in ([*CODE[:-1], [*CODE[-1], "more"]], ["2.0.0", *CODE[1:]]):
        computed.clear()
        monkeypatch.setattr(studies, "code", lambda changed=changed: changed)
        study(tmp_path)
        assert len(computed) == 2
    monkeypatch.setattr(studies, "code", lambda: CODE)
    computed.clear()
    study(tmp_path)
    assert computed == []


def test_the_code_is_that_of_the_modules(tmp_path, monkeypatch):
    """A change in any of them counts; one in a comment or a docstring does not."""
    found = []
    syntax = studies.syntax
    monkeypatch.undo()
    monkeypatch.setattr(studies, "syntax", lambda path: found.append(path.name) or syntax(path))
    getattr(studies.code, "cache_clear", lambda: None)()
    assert studies.code() == CODE and CODE[0] == torch.__version__.partition("+")[0]
    assert found == [f"{name}.py" for name in studies.MODULES]
    text = (ROOT / "riemlib/topology.py").read_text(encoding="utf-8")
    copy = tmp_path / "topology.py"
    trees = []
    for changed in (
        text,
        "# a comment\n" + text.replace("The largest gap", "The widest gap"),
        text.replace("least: float = 1e-9", "least: float = 1e-8"),
    ):
        copy.write_text(changed, encoding="utf-8")
        trees.append(syntax(copy))
    assert trees[0] == trees[1] != trees[2]


def imported(name: str) -> set[str]:
    """The modules of riemlib that a module of it imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / f"riemlib/{name}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom | ast.Import) and not getattr(node, "level", 0):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not any(part.split(".")[0] == "riemlib" for part in names), f"{name} imports riemlib by its full name"
    return {other for other in found if (ROOT / f"riemlib/{other}.py").exists()}


def test_the_code_covers_all_that_studies_imports():
    """Directly or not. What hashes the code is left out: it has no part in the numbers."""
    found, new = set(), {"studies"}
    while new:
        found |= new
        new = set().union(*map(imported, new)) - found
    assert {"networks", "training", "topology"} <= found
    assert found - {"provenance"} == set(studies.MODULES)


# Processes that work, and die.


def test_two_processes_give_the_same_bits(tmp_path):
    here = study(tmp_path / "here", {"a": BASE, "b": RING}, measures=["stretch"])
    there = study(tmp_path / "there", {"a": BASE, "b": RING}, measures=["stretch"], workers=2)
    assert same(here["a"], there["a"]) and same(here["b"], there["b"])
    assert [path.name for path in shards(tmp_path / "here")] == [path.name for path in shards(tmp_path / "there")]
    tasks = [Task(workers.whereabouts, (i,)) for i in range(4)]
    assert os.getpid() not in processes(tasks, folder=tmp_path, workers=2)
    assert processes([Task(workers.whereabouts, (i,)) for i in range(4, 8)], folder=tmp_path, workers=1) == {os.getpid()}


def processes(tasks, **how) -> set[int]:
    return {int(result["process"]) for result in studies.compute(tasks, progress=False, **how)}


def test_a_worker_that_dies_is_replaced(tmp_path):
    log = tmp_path / "log"
    tasks = [Task(workers.mortal, (i, str(log))) for i in range(5)]
    found = studies.compute(tasks, folder=tmp_path, workers=2, progress=False)
    assert [result["value"].tolist() for result in found] == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert len(log.read_text().split()) == 1
    assert len(shards(tmp_path)) == 5


def test_a_task_that_kills_every_worker_is_named_and_the_others_kept(tmp_path, monkeypatch):
    """It is tried as often as is promised, never in the main process, which would die of it."""
    monkeypatch.setattr(studies, "ATTEMPTS", 1)
    log = tmp_path / "log"
    tasks = [Task(workers.doomed, (i, str(log), os.getpid())) for i in range(2)]
    studies.write({"value": np.array([0.0])}, tmp_path / f"{tasks[0].key}.safetensors")  # so that the deadly one is the only one left
    with pytest.raises(RuntimeError, match="workers died 1 times.* 1 shards are missing: 1"):
        studies.compute(tasks, folder=tmp_path, workers=2, progress=False)
    assert len(log.read_text().split()) == 1
    assert [path.stem for path in shards(tmp_path)] == [tasks[0].key]


@pytest.fixture(scope="module", autouse=True)
def fork():
    """Starts a process of tests/workers.py by its name and argument and returns its number; kills what is left in the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    server = subprocess.Popen([sys.executable, workers.__file__], env=environment, start_new_session=True, **pipes)

    def started(name: str, argument: Path) -> int:
        server.stdin.write(f"{name} {argument}\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    yield started
    server.communicate()  # the end of its input is the end of it


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.01)


def test_a_study_that_was_killed_goes_on_from_there(fork, tmp_path, computed):
    """Only what was not finished is computed, and the whole is what an undisturbed run gives."""
    folder = tmp_path / "killed"
    process = fork("study", folder)
    wait_for(lambda: shards(folder))
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: Path(f"/proc/{process}/stat").read_text().split()[2] == "Z" if Path("/proc").exists() else time.sleep(1) is None)
    kept, total = len(shards(folder)), workers.SEEDS // workers.SHARD
    assert 0 < kept < total
    again = study(folder, workers.KILLED, seeds=range(workers.SEEDS))["a"]
    assert len(computed) == total - kept
    assert same(again, study(tmp_path / "undisturbed", workers.KILLED, seeds=range(workers.SEEDS))["a"])


# A cluster.


@pytest.fixture(scope="module")
def cluster(fork, tmp_path_factory):
    """The address of a dask scheduler with two workers, and a client to look at them."""
    distributed = pytest.importorskip("distributed")
    file = tmp_path_factory.mktemp("cluster") / "scheduler.json"
    for name in ("scheduler", "worker", "worker"):
        fork(name, file)
    wait_for(file.exists)
    with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client.scheduler.address, client


def kill_one(client) -> bool:
    """Kills the busier of the workers; whether it was at work."""
    pids, busy = client.run(os.getpid), client.processing()
    victim = max(busy, key=lambda address: len(busy[address]))
    os.kill(pids[victim], signal.SIGKILL)
    while victim in client.nthreads():
        time.sleep(0.01)
    return len(busy[victim]) > 0


def test_a_cluster_gives_the_same_bits(cluster, tmp_path, monkeypatch):
    """Its address given, or in the environment; and it is the cluster that works."""
    address, client = cluster
    here = study(tmp_path / "here", {"a": BASE, "b": RING}, measures=["stretch"])
    there = study(tmp_path / "there", {"a": BASE, "b": RING}, measures=["stretch"], scheduler=address)
    assert same(here["a"], there["a"]) and same(here["b"], there["b"])
    pids = set(client.run(os.getpid).values())
    assert processes([Task(workers.whereabouts, (i,)) for i in range(4)], folder=tmp_path, scheduler=address) <= pids
    monkeypatch.setenv("RIEMLIB_SCHEDULER", address)
    assert processes([Task(workers.whereabouts, (i,)) for i in range(4, 8)], folder=tmp_path) <= pids


def test_a_device_is_used_from_this_process(cluster, tmp_path, monkeypatch):
    """Even where there is a cluster, whose workers need not have it; "cpu:0" stands for a device here."""
    address, _ = cluster
    here, fit = [], studies.fit
    monkeypatch.setattr(studies, "fit", lambda *given, **settings: here.append(settings["device"]) or fit(*given, **settings))
    runs = study(tmp_path, scheduler=address, device="cpu:0")["base"]
    assert here == ["cpu:0", "cpu:0"]
    assert same(runs, study(tmp_path)["base"])


def test_a_cluster_that_loses_a_worker_gives_the_same_bits(cluster, tmp_path, monkeypatch):
    """Killed while shards are in flight, when the first is finished."""
    address, client = cluster
    write, at_work = studies.write, []

    def kills(result, path):
        write(result, path)
        if not at_work:
            at_work.append(kill_one(client))

    here = study(tmp_path / "here", workers.KILLED, seeds=range(workers.SEEDS))["a"]
    monkeypatch.setattr(studies, "write", kills)
    there = study(tmp_path / "there", workers.KILLED, seeds=range(workers.SEEDS), scheduler=address)["a"]
    assert at_work == [True] and len(client.nthreads()) == 1
    assert same(here, there)


def test_a_cluster_of_one_worker_is_a_cluster(cluster, tmp_path):
    address, client = cluster
    if len(client.nthreads()) == 2:
        kill_one(client)
    found = processes([Task(workers.whereabouts, (i,)) for i in range(4)], folder=tmp_path, scheduler=address)
    assert found == set(client.run(os.getpid).values())


def test_a_task_that_kills_a_clusters_workers_is_an_error(cluster, tmp_path, monkeypatch):
    """Not a wait without end. The scheduler gives a task up after some deaths; here, after the first, and no nanny starts a new worker."""
    address, client = cluster
    monkeypatch.setattr(studies, "ATTEMPTS", 1)
    client.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    tasks, raised = [Task(workers.doomed, (1, str(tmp_path / "log"), os.getpid()))], []

    def run():
        try:
            studies.compute(tasks, folder=tmp_path, scheduler=address, progress=False)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert [type(error) for error in raised] == [RuntimeError] and "workers died" in str(raised[0])


# Progress.


def test_progress_is_shown_on_the_terminal_named(tmp_path, monkeypatch, capsys):
    """From a kernel, where bars are silenced, on the terminal that the chain was started from; otherwise here, or nowhere."""
    terminal = tmp_path / "terminal"
    monkeypatch.setenv("TQDM_DISABLE", "1")
    study(tmp_path / "1", progress=True)
    assert "".join(capsys.readouterr()) == ""
    monkeypatch.setenv("RIEMLIB_TERMINAL", str(terminal))
    study(tmp_path / "2")
    assert not terminal.exists()
    study(tmp_path / "3", progress=True)
    assert "train shards" in terminal.read_text() and "/2" in terminal.read_text()
    assert "".join(capsys.readouterr()) == ""
    terminal.unlink()
    study(tmp_path / "3", progress=True)
    assert not terminal.exists()  # nothing to do, nothing to show
    monkeypatch.delenv("RIEMLIB_TERMINAL")
    monkeypatch.delenv("TQDM_DISABLE")
    study(tmp_path / "4", progress=True)
    assert "train shards" in "".join(capsys.readouterr())
