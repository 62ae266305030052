"""The multiverse: its settings, a table that is the same to the bit whoever computes it, resumed after a kill, and that of today's code."""

import dataclasses
import functools
import gzip
import json
import os
import signal
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch

import riemlib as rl
from riemlib import curves
from riemlib.__main__ import main
from riemlib.companion import multiverse, shards, studies
from riemlib.companion.contrasts import LEAST_SOLVED
from riemlib.companion.figures import protocol
from riemlib.companion.multiverse import AXES, BASE, MEASURES, SEEDS, Cell
from riemlib.companion.specifications import specifications

TINY = {"turns": (0.75,), "depth": (6,), "rate": (1.0,), "updates": (12,), "optimiser": ("adam", "sgd")}
FIRST = {name: values[0] for name, values in TINY.items()}
SETTINGS = [field.name for field in dataclasses.fields(Cell)]
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def computed(monkeypatch) -> list:
    """The tasks that are computed in this process."""
    calls, work = [], shards.work
    monkeypatch.setattr(shards, "work", lambda task: calls.append(task.key) or work(task))
    return calls


def make(folder, **how):
    how = {"workers": 1, "progress": False, "folder": folder / "shards", **how}
    return multiverse.make(TINY, (0, 1), base=FIRST, file=folder / "multiverse.csv.gz", **how)


def bits(folder) -> bytes:
    return (folder / "multiverse.csv.gz").read_bytes()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Two settings, two seeds, a few updates: the folder and the table."""
    folder = tmp_path_factory.mktemp("tiny")
    return folder, make(folder)


# What is trained.


def test_every_setting_is_trained_once_with_each_network_and_batch():
    found = multiverse.cells()
    assert len(found) == len(set(found)) == 144 * 10
    assert Counter((cell.network, cell.batch_size, cell.points) for cell in found) == {
        **{(network, 300, 1000): 144 for network in ("C0", "C1", "C2", "mixed")},
        **{(network, batch, n): 144 for network in ("C1", "C2") for batch, n in ((1000, 1000), (300, 4000), (1000, 4000))},
    }
    for name, values in AXES.items():
        assert {getattr(cell, name) for cell in found} == set(values) and BASE[name] in values


@pytest.mark.parametrize("depth, layer", [(6, 4), (10, 6), (16, 10)])
def test_a_cell_is_a_condition(depth, layer):
    cell = Cell("mixed", 300, 4000, 1.25, depth, 3.0, 1000, "sgd")
    found = cell.condition(0.2)
    assert (found.batch_size, found.points, found.turns, found.depth, found.updates) == (300, 4000, 1.25, depth, 1000)
    assert found.learning_rate == pytest.approx(0.6) and found.optimiser == "sgd" and found.positions == "random"
    assert studies.plain_layer(found.order) == layer and len(found.order) == depth
    assert dataclasses.replace(cell, optimiser="adam").condition(0.2).learning_rate == pytest.approx(0.03)
    assert [dataclasses.replace(cell, network=f"C{order}").condition(0.2).order for order in (0, 1, 2)] == [0, 1, 2]


def test_the_measures_are_those_of_networks_that_fit_trains(tiny):
    """One row of the table, spelt out."""
    _, table = tiny
    sample = rl.spiral(1000, turns=0.75, positions="random", dtype=torch.float32)
    net = rl.CkNetwork([2] * 7, order=2, dtype=torch.float32, seed=0)
    how = {"batch_size": 1000, "updates": 12, "learning_rate": 1e-2, "progress": False}
    (trained,) = rl.fit(net, sample, seeds=[1], **how).networks
    curve = rl.spiral(4000, turns=0.75, dtype=torch.float64)
    x = torch.stack([each.detach() for each in trained.double().coordinates(curve.x)])
    gap = max(x[-1, curve.label == arm].diff(dim=0).norm(dim=1).max() for arm in (0, 1)) / curves.diameter(x[-1])
    row = table.query("network == 'C2' and batch_size == 1000 and points == 1000 and optimiser == 'adam' and seed == 1").iloc[0]
    assert row["error"] == pytest.approx(float((trained(sample.x.double()).argmax(1) != sample.label).double().mean()), abs=1e-3)
    assert row["log_roughness"] == pytest.approx(float(curves.roughness(x).log()), rel=1e-3)
    assert row["log_gap"] == pytest.approx(float(gap.log()), rel=1e-3)
    assert row["log_length"] == pytest.approx(float(curves.length(x[-1], curve.label).log()), rel=1e-3)
    g = rl.geometry(trained, sample.x[::10].double()).g[0]
    ratio = torch.linalg.cond(g)
    assert row["log_condition"] == pytest.approx(float(ratio.median().log10()), rel=2e-3)


# The table.


def test_the_table_is_tidy(tiny):
    folder, table = tiny
    assert list(table) == [*SETTINGS, "seed", "error", *MEASURES, "solved"]
    assert len(table) == 2 * 10 * 2 and not table.duplicated([*SETTINGS, "seed"]).any()
    assert set(table["seed"]) == {0, 1} and table[list(MEASURES)].notna().all(axis=None)
    assert table["solved"].equals(table["error"] == 0)
    pd.testing.assert_frame_equal(multiverse.read(folder / "multiverse.csv.gz"), table)
    about = json.loads((folder / "multiverse.json").read_text())
    assert about["seeds"] == [0, 1] and about["sgd_rate"] in multiverse.SGD_RATES and about["versions"]["torch"]
    assert about["code"] == multiverse.digest(about["sgd_rate"], TINY, (0, 1), FIRST) != multiverse.digest(about["sgd_rate"])
    assert not set(about["tuning_seeds"]) & set(SEEDS)


def test_a_network_that_diverged_is_a_row_without_numbers():
    cell = Cell("C1", 300, 1000, *FIRST.values())
    result = {name: torch.tensor([0.0, torch.nan]) for name in ("error", *MEASURES)}
    table = multiverse.parsed(multiverse.as_text([cell], [result], [3, 4]))
    assert table["solved"].tolist() == [True, False] and table[["error", *MEASURES]].isna().all(axis=1).tolist() == [False, True]


def test_two_processes_give_the_same_table(tiny, tmp_path):
    make(tmp_path, workers=2)
    assert bits(tmp_path) == bits(tiny[0])


def test_a_cluster_gives_the_same_table(tiny, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        make(tmp_path, scheduler=cluster.scheduler_address)
    assert bits(tmp_path) == bits(tiny[0])


def test_a_run_that_is_killed_goes_on_from_there(tiny, tmp_path, computed):
    kept = tmp_path / "shards"
    if not (process := os.fork()):
        try:
            make(tmp_path)
        finally:
            os._exit(0)
    deadline = time.time() + 60
    while len(list(kept.glob("*.safetensors"))) < 25 and time.time() < deadline:
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    finished = {file.stem for file in kept.glob("*.safetensors")}
    assert 25 <= len(finished) < 40 and not (tmp_path / "multiverse.csv.gz").exists()
    make(tmp_path)
    assert len(computed) == 40 - len(finished) and not finished & set(computed) and bits(tmp_path) == bits(tiny[0])
    computed.clear()
    written = (tmp_path / "multiverse.csv.gz").stat().st_mtime_ns
    make(tmp_path)
    assert not computed and (tmp_path / "multiverse.csv.gz").stat().st_mtime_ns == written


def test_the_rate_of_sgd_is_the_one_that_solves_most_and_of_equals_that_of_least_loss(monkeypatch):
    def rate(solved, loss):
        """Found where so many seeds of each kind are solved, and with this late loss, at each rate."""

        def outcomes(conditions, seeds, **how):
            at = [multiverse.SGD_RATES.index(condition.learning_rate) for condition in conditions]
            assert {c.optimiser for c in conditions} == {"sgd"} and [c.order for c in conditions[:3]] == [0, 1, 2]
            return [{"error": torch.arange(10.0).ge(solved[i]).float(), "late_loss": torch.full((10,), loss[i])} for i in at]

        monkeypatch.setattr(multiverse, "outcomes", outcomes)
        return multiverse.tuned_rate()

    assert rate([1, 3, 7, 5, 0], [5.0, 4.0, 3.0, 2.0, 1.0]) == 0.1
    assert rate([0, 0, 0, 0, 0], [0.5, 0.4, 0.6, np.nan, np.inf]) == 0.03


# The committed table.


@pytest.fixture
def committed() -> pd.DataFrame:
    if not multiverse.TABLE.exists():
        pytest.skip("no table of the multiverse yet: make multiverse")
    return multiverse.read()


def test_the_committed_table_is_that_of_todays_code(committed):
    about = multiverse.described()
    assert about["code"] == multiverse.digest(about["sgd_rate"]), "the table of the multiverse is of other code: make multiverse"
    assert about["seeds"] == list(SEEDS) and about["sgd_rate"] in multiverse.SGD_RATES


def test_the_committed_table_is_complete_and_small(committed):
    assert len(committed) == len(multiverse.cells()) * len(SEEDS) and multiverse.TABLE.stat().st_size < 600_000
    assert committed[SETTINGS].drop_duplicates().to_dict("records") == [dataclasses.asdict(cell) for cell in multiverse.cells()]
    diverged = committed["error"].isna()
    assert diverged.mean() < 0.1 and committed.loc[~diverged, list(MEASURES)].notna().mean().min() > 0.99


def test_the_published_page_shows_the_committed_table(committed):
    """The digest of a notebook has the code that it uses, and not this file of data."""
    page = shards.ROOT / "notebooks" / "11_protocol.ipynb"
    if not page.exists():
        pytest.skip("11_protocol is not published yet")
    assert f"code {multiverse.described()['code']}" in page.read_text(), "11_protocol shows another table: make paper, make publish"


# The check of the table.


def test_a_check_finds_the_table_right_and_a_changed_number_wrong(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(multiverse, "BASE", FIRST)
    file = tiny[0] / "multiverse.csv.gz"
    found = multiverse.check(3, seed=1, file=file, workers=1, progress=False)
    assert len(found) == 10 + 3 and (found["equal"] == 1).all() and (found[["solved", *MEASURES]] == 0).all(axis=None)
    assert len(found.drop_duplicates(SETTINGS)) == 13 and set(found[found["optimiser"] == "adam"].index) == set(range(10))
    other = multiverse.check(3, seed=2, file=file, workers=1, progress=False)
    assert not other[SETTINGS].equals(found[SETTINGS]) and other[SETTINGS][:10].equals(found[SETTINGS][:10])
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    values = lines[1].split(",")
    at = [*SETTINGS, "seed", "error", *MEASURES].index("log_gap")
    values[at] = f"{float(values[at]) + 1:.4g}"
    (tmp_path / "multiverse.csv.gz").write_bytes(gzip.compress("\n".join([lines[0], ",".join(values), *lines[2:]]).encode()))
    (tmp_path / "multiverse.json").write_text((tiny[0] / "multiverse.json").read_text())
    wrong = multiverse.check(0, file=tmp_path / "multiverse.csv.gz", workers=1, progress=False)
    assert wrong["equal"].tolist() == [1 - 1 / 12] + [1] * 9 and wrong["log_gap"][0] == pytest.approx(-0.5, abs=1e-3)


# What the claims compare.


def rows(columns, **shift) -> pd.DataFrame:
    """One setting of 20 seeds: all conditions alike but for those whose column is shifted, {"C1 1000 1000": 0.5}."""
    noise = np.random.default_rng(0).normal(0, 0.05, 20)
    parts = []
    for network, batch, points in multiverse.TRAINED:
        moved = shift.get(f"{network}_{batch}_{points}", 0.0)
        values = {name: noise + moved for name in columns}
        part = {"network": network, "batch_size": batch, "points": points, "seed": range(20), "error": 0.0, **values}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts).assign(solved=True)


def test_what_is_for_is_what_the_paper_says():
    """C1 less rough than C0; smaller gaps with batch 1000. Exchanged, it is against; without a difference, absent."""
    rough, gap = ["log_roughness"], ["log_gap"]
    assert multiverse.rougher(rows(rough, C0_300_1000=1.0), "C1").reading == "for"
    assert multiverse.rougher(rows(rough, C0_300_1000=1.0), "C2").estimate == pytest.approx(1)
    assert multiverse.rougher(rows(rough, C0_300_1000=-1.0), "C1").reading == "against"
    assert multiverse.rougher(rows(rough), "C2").reading == "absent"
    assert "63 % less rough" in multiverse.rougher(rows(rough, C2_300_1000=-1.0), "C2").plain
    assert multiverse.torn(rows(gap, C1_1000_1000=-1.0), "C1").reading == "for"
    assert multiverse.torn(rows(gap, C1_1000_1000=-1.0), "C1", points=4000).reading == "absent"
    assert multiverse.torn(rows(gap, C2_300_4000=-1.0), "C2", points=4000).reading == "against"
    assert multiverse.torn(rows(gap, C2_300_4000=-1.0), "C2").reading == "absent"


def test_the_mixed_network_is_compared_with_c1_in_success():
    def found(c1, mixed):
        table = rows(["log_gap"])
        for network, solved in (("C1", c1), ("mixed", mixed)):
            own = table["network"] == network
            table.loc[own, "solved"] = table.loc[own, "seed"] < solved
        return multiverse.untangled(table)

    assert found(20, 2).reading == "against" and found(20, 2).estimate == pytest.approx(-0.9)
    assert found(2, 20).reading == "silent" and found(2, 20).reference < LEAST_SOLVED and found(15, 15).estimate == 0


# The figures.


@pytest.mark.usefixtures("untyped")
def test_a_specification_curve_is_sorted_and_has_the_settings_of_each_effect_below_it():
    shifts = {1.5: 0.0, 0.75: 2.0, 1.0: 1.0, 1.25: -1.0}
    tables = [rows(["log_roughness"], C0_300_1000=shift).assign(turns=turns, optimiser="sgd") for turns, shift in shifts.items()]
    contrast = functools.partial(multiverse.rougher, network="C1")
    specs = specifications(pd.concat(tables), ["turns", "optimiser"], contrast)
    fig = protocol.specification_curve(specs, {"turns": 1.0}, ylabel="C0 over C1", title="Roughness")
    above, below = fig.axes
    dots = {name: next(line for line in above.lines if line.get_color() == colour) for name, colour in protocol.READINGS.items()}
    assert {name: list(line.get_xdata()) for name, line in dots.items()} == {"against": [0], "absent": [1], "for": [2, 3], "silent": []}
    assert np.log(dots["for"].get_ydata()) == pytest.approx([1, 2]) and np.log(dots["against"].get_ydata()) == pytest.approx([-1])
    marks = {label.get_text(): list(line.get_xdata()) for label, line in zip(below.get_yticklabels(), below.lines, strict=False)}
    assert marks["turns 0.75"] == [3] and marks["turns 1.25"] == [0]
    (arrow,) = above.texts
    assert arrow.get_text() == "base" and arrow.xyann[0] == 2
    alt = fig._repr_mimebundle_()[1]["image/png"]["alt"]
    assert "2 for, 1 against, 1 absent, 0 silent" in alt and "number 3 in this order and reads for" in alt


@pytest.mark.usefixtures("untyped")
def test_a_success_curve_is_sorted_by_the_first_network():
    table = pd.concat(
        [rows(["log_gap"]).assign(turns=turns, solved=lambda t, k=k: t["seed"] < k) for turns, k in ((0.5, 5), (1.0, 20), (1.5, 0))]
    )
    table.loc[table["network"] == "C2", "solved"] = True
    table = table[(table["batch_size"] == 300) & (table["points"] == 1000)]
    above, below = protocol.success_curve(table, ["turns"], {"turns": 0.5}, networks=["C1", "C2"], title="Success").axes
    share = {line.get_label(): list(line.get_ydata()) for line in above.lines}
    assert share["C1"] == [0, 0.25, 1] and share["C2"] == [1, 1, 1] and above.texts[0].xyann[0] == 1
    assert [list(line.get_xdata()) for line in below.lines[:3]] == [[1], [2], [0]]


# The command.


def test_the_command_computes_the_table_on_the_cluster_that_is_given(monkeypatch, capsys):
    def given(scheduler=None):
        if scheduler == "tcp://nowhere:1":
            raise RuntimeError("no dask scheduler answers")
        assert scheduler == "tcp://host:1"
        return pd.DataFrame({"seed": range(28_800)})

    monkeypatch.setattr(multiverse, "make", given)
    monkeypatch.setattr(multiverse, "described", lambda: {"sgd_rate": 0.3})
    assert main(["multiverse", "--scheduler", "tcp://host:1"]) == 0
    assert "multiverse.csv.gz has 28800 networks; the rate of sgd is 0.3" in capsys.readouterr().out
    assert main(["multiverse", "--scheduler", "tcp://nowhere:1"]) == 1
    assert "what is finished is kept: no dask scheduler answers" in capsys.readouterr().err
