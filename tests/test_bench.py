"""The bench: it runs on tiny sizes, sees a competitor that computes something else, and says where a promise does not hold."""

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec

import bench
import pytest
import torch

from riemlib.companion.book import pages, speed
from riemlib.companion.provenance import ROOT

pytestmark = [pytest.mark.usefixtures("untyped"), pytest.mark.slow]

TINY = bench.Sizes(plane=200, wide=20, networks=2, updates=10, rounds=1, reduced=1_000, images=1, curve=3)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The record of a tiny run, and the folder that it was written to."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "QUICK", TINY)
        bench.main(["--quick", "--to", str(folder)])
    return json.loads((folder / "bench.json").read_text(encoding="utf-8")), folder


# A run.


def test_a_run_measures_every_competitor_and_every_promise(measured):
    record, folder = measured
    rows = {row["name"]: row for group in record["groups"] for row in group["rows"]}
    assert {bench.JACREV, bench.HAND, bench.FORWARD, bench.PLAIN, bench.TORCH} <= set(rows)
    assert (bench.JAX in rows) == bool(find_spec("jax"))
    assert all(row["cpu"] > 0 and row["ratio"] > 0 and (row["promise"] is None) == (row["holds"] is None) for row in rows.values())
    promises = [row["promise"] for group in record["groups"] for row in group["rows"] if row["promise"]]
    expected = [*(v for *_, each in bench.METRICS for v in each.values()), *[1 / 1.3] * 4]
    expected += [value for _, each in bench.TRAININGS for name, value in each.items() if name in rows]
    assert sorted(promises) == sorted(f"at least {value:.3g}" for value in expected)
    assert [curve["axis"] for curve in record["growth"]] == ["points", "depth", "width", "networks"]
    assert [limit["promise"] for limit in record["limits"][-4:]] == ["1.0 ± 0.1", "1.0 ± 0.1", None, "1.0 ± 0.1"]
    assert record["quick"] and record["threads"] == torch.get_num_threads() and record["versions"]["torch"] == torch.__version__
    assert (folder / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_the_memory_of_a_process_of_its_own_is_in_the_record(measured):
    memory = {limit["name"]: limit for limit in measured[0]["limits"] if "memory" in limit["name"]}
    assert [limit["promise"] for limit in memory.values()] == ["at most 4", "at most 1"]
    assert all(0.05 < limit["value"] < 4 for limit in memory.values())
    (difference,) = (limit for limit in measured[0]["limits"] if "dense" in limit["name"])
    assert difference["holds"] and difference["promise"] == "at most 0.0001"


def test_without_a_gpu_its_column_is_empty(measured):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert all(row["gpu"] is None for group in measured[0]["groups"] for row in group["rows"])
    assert "GPU: no GPU here" in speed.conditions(measured[0]) and speed.head(measured[0])[-1] == "no GPU here"


def test_a_busy_machine_is_named(measured):
    assert "Other work ran beside it (load 1.5)" in speed.conditions({**measured[0], "load": 1.5})
    assert "Other work" not in speed.conditions({**measured[0], "load": 0.3})


def test_tiny_sizes_are_not_published(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--quick", "--publish"])
    assert "tiny sizes measure nothing" in capsys.readouterr().err


# The checks can fail.


def test_a_closed_form_with_other_weights_is_seen(monkeypatch):
    bench.compare(bench.metric_group(2, 50, {}, "cpu").rows)
    monkeypatch.setattr(bench, "by_hand", lambda net, x: bench.by_layer(bench.JACOBIANS[bench.JACREV], _steep(net), x))
    with pytest.raises(ValueError, match="closed form by hand.* computes something else"):
        bench.compare(bench.metric_group(2, 50, {}, "cpu").rows)


def _steep(net):
    """The network with its weights times 1.01."""
    return net.with_parameters(1.01 * torch.cat([parameter.flatten() for parameter in net.parameters()])).requires_grad_(False)


@pytest.mark.parametrize(("train", "name"), [("plain_loop", "a plain loop"), ("stacked", "torch: vmap"), ("with_jax", "JAX")])
def test_a_competitor_that_trains_otherwise_is_seen(monkeypatch, train, name):
    """One with another learning rate. The others agree with riemlib before."""
    if train == "with_jax" and not find_spec("jax"):
        pytest.skip("no jax")
    bench.compare(bench.training_group(2, TINY, {}, "cpu").rows)
    other = getattr(bench, train)

    def wrong(*arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench, "RATE", 2e-2)
            found = other(*arguments)
            answer = found if train != "with_jax" else found()  # it reads the rate when it compiles
        return answer if train != "with_jax" else lambda: answer

    monkeypatch.setattr(bench, train, wrong)
    with pytest.raises(ValueError, match=f"{name}.* computes something else"):
        bench.compare(bench.training_group(2, TINY, {}, "cpu").rows)


def test_a_promise_that_does_not_hold_is_said():
    def nothing():
        return None

    group = bench.Group("g", [bench.Row("ours", nothing), bench.Row("peer", nothing, promise=5), bench.Row("floor", nothing, 1 / 1.3)])
    rows = bench.recorded(group, {"ours": 1.0, "peer": 4.9, "floor": 0.8}, {"peer": 0.5})["rows"]
    assert [row["holds"] for row in rows] == [None, False, True] and [row["gpu"] for row in rows] == [None, 0.5, None]
    assert [line[3] for line in speed.table({"rows": rows})] == ["", "at least 5: does not hold", "at least 0.769: holds"]
    assert bench.limit("memory", 4.1, "GiB", 4)["holds"] is False and bench.limit("memory", 3.9, "GiB", 4)["holds"] is True


# Measuring.


def test_competitors_take_turns_and_the_first_turn_does_not_count(monkeypatch):
    now, calls = iter(range(1_000)), []
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(next(now)))

    def call(name, ticks):
        def run():
            calls.append(name)
            for _ in range(ticks if len(calls) > 2 else 100):
                next(now)

        return run

    monkeypatch.setattr(bench, "ENOUGH", 1e9)
    assert bench.medians([call("a", 0), call("b", 4)], 5) == [1.0, 5.0]
    assert calls == ["a", "b"] * 6
    calls.clear()
    monkeypatch.setattr(bench, "ENOUGH", 0.0)
    bench.medians([call("a", 0), call("b", 4)], 5)
    assert calls == ["a", "b"] * 4


def test_the_time_of_a_competitor_is_divided_by_its_work(monkeypatch):
    monkeypatch.setattr(bench, "medians", lambda calls, rounds, device: [6.0 for _ in calls])
    group = bench.Group("g", [bench.Row("one", list), bench.Row("many", list, work=300.0)])
    assert bench.measure(group, 1, "cpu") == {"one": 6.0, "many": 0.02}


@pytest.mark.parametrize("exponent", [0.8, 1.0, 1.3, 2.0])
def test_exponents_are_found_above_the_overhead(exponent):
    sizes = (5, 10, 20, 40, 80)
    overhead, factor, found = bench.fitted(sizes, [0.01 + 0.002 * n**exponent for n in sizes])
    assert found == pytest.approx(exponent, abs=0.011)
    assert overhead == pytest.approx(0.01, rel=0.05) and factor == pytest.approx(0.002, rel=0.05)
    curve = {"axis": "points", "what": "metric", "promised": True, "exponent": found}
    assert bench.exponent_limit(curve)["holds"] is (exponent == 1.0)
    assert bench.exponent_limit({**curve, "exponent": 1.1})["holds"] and not bench.exponent_limit({**curve, "exponent": 1.11})["holds"]
    assert bench.exponent_limit({**curve, "promised": False})["holds"] is None


def test_sizes_of_a_full_run_are_those_of_the_promises():
    full = bench.Sizes()
    assert (full.plane, full.wide, full.networks, full.reduced) == (100_000, 1_000, 100, 10**7) and bench.DEPTH == 10
    sizes = {axis: (steps[0], steps[-1]) for axis, _, steps, *_ in bench.CURVES}
    assert sizes == {"points": (20_000, 160_000), "depth": (5, 80), "width": (2, 64), "networks": (20, 320)}
    assert full.curve >= max(len(steps) for _, _, steps, *_ in bench.CURVES) and replace(full, rounds=1) != full


# The page of the book.


def test_the_page_shows_the_record(measured):
    text = speed.page(measured[0])
    for group in measured[0]["groups"]:
        assert f"## {group['title']}" in text
        assert all(f"| {row['name']} | {speed.duration(row['cpu'])} |" in text for row in group["rows"])
        assert all(row["note"] in text for row in group["rows"])
    assert all(limit["name"] in text for limit in measured[0]["limits"])
    assert f"![{speed.spoken(measured[0]['growth'])}](speed.svg)" in text
    assert "Time against size" in speed.spoken(measured[0]["growth"]) and "Tiny sizes: no measurement." in text


def test_the_figure_is_drawn_the_same_each_time(measured):
    first, second = (speed.drawing(speed.growth(measured[0]["growth"])) for _ in range(2))
    assert first == second and "<svg" in first


def test_the_page_is_there_where_there_is_a_record_and_only_there(measured, tmp_path):
    root, folder = tmp_path / "root", tmp_path / "pages"
    for name in ("notebooks", "riemlib"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy2(ROOT / "README.md", root)
    (root / speed.RECORD).write_text(json.dumps(measured[0]), encoding="utf-8")
    pages.write(root, folder)
    assert (folder / "speed.md").exists() and (folder / "speed.svg").exists()
    assert (folder / "index.md").read_text(encoding="utf-8").rstrip("`\n").endswith("equations\nspeed")
    (root / speed.RECORD).unlink()
    pages.write(root, folder)
    assert not list(folder.glob("speed.*"))
    assert (folder / "index.md").read_text(encoding="utf-8").rstrip("`\n").endswith("equations")
