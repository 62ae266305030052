"""Shards: the same bits whoever computes them, kept under a name that says what made them, and resumed whatever happens."""

import json
import os
import shutil
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
from safetensors.numpy import save_file

from riemlib.companion import progress, provenance, shards, studies
from riemlib.companion.shards import Task

ROOT = provenance.ROOT
pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture
def computed(monkeypatch) -> list:
    """The arguments of the tasks that are computed in this process, in order."""
    calls, work = [], shards.work
    monkeypatch.setattr(shards, "work", lambda task: calls.append(task.arguments[0]) or work(task))
    return calls


def compute(folder, count=4, function=workers.square, first=0, **how):
    tasks = [Task(function, (float(i),)) for i in range(first, first + count)]
    return shards.compute(tasks, folder=folder, **{"workers": 1, "progress": False, **how})


def numbers(results) -> list:
    """All bits of results, without the processes that made them."""
    return [{name: value.numpy().tobytes() for name, value in result.items() if name != "process"} for result in results]


def kept(folder) -> list[Path]:
    return sorted(Path(folder).glob("*.safetensors"))


# What is kept.


def test_what_is_kept_is_not_computed_again(tmp_path, computed):
    first = compute(tmp_path)
    assert [float(result["square"]) for result in first] == [0.0, 1.0, 4.0, 9.0]
    assert computed == [0.0, 1.0, 2.0, 3.0] and len(kept(tmp_path)) == 4 == len(list(tmp_path.iterdir()))
    computed.clear()
    assert numbers(compute(tmp_path)) == numbers(first) and computed == []
    assert numbers(compute(tmp_path, count=3, first=2))[:2] == numbers(first)[2:] and computed == [4.0]
    assert compute(tmp_path, count=0) == []


def test_the_folder_of_the_environment_is_used(tmp_path, monkeypatch, computed):
    monkeypatch.setenv("RIEMLIB_STUDIES", str(tmp_path / "deep" / "er"))
    compute(None)
    assert len(kept(tmp_path / "deep" / "er")) == 4
    compute(tmp_path / "deep" / "er")
    assert len(computed) == 4


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
    first = compute(tmp_path)
    files = {file: file.read_bytes() for file in kept(tmp_path)}
    victim = kept(tmp_path)[1]
    victim.write_bytes(damage(files[victim]))
    computed.clear()
    assert numbers(compute(tmp_path)) == numbers(first) and len(computed) == 1
    assert {file: file.read_bytes() for file in kept(tmp_path)} == files


def test_every_flipped_bit_is_noticed(tmp_path):
    """Header and data alike; and a file that somebody else wrote, without a digest, is none of ours."""
    file = tmp_path / "shard.safetensors"

    def read():
        return shards.read(tmp_path, "shard")

    result = {"error": np.array([0.1, np.nan], np.float32), "late_loss": np.arange(6.0).reshape(2, 3), "parameters": np.ones((2, 1, 3))}
    shards.write(result, tmp_path, "shard")
    found = read()
    assert found.keys() == result.keys() and all(found[name].dtype == value.dtype for name, value in result.items())
    assert all(found[name].tobytes() == value.tobytes() and found[name].shape == value.shape for name, value in result.items())
    raw = file.read_bytes()
    for at in range(len(raw)):
        file.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at + 1 :])
        assert read() is None, at
    save_file(result, file)
    assert read() is None
    save_file(result, file, {"digest": "0" * 64})
    assert read() is None and shards.read(tmp_path, "none") is None
    (tmp_path / "folder.safetensors").mkdir()
    assert shards.read(tmp_path, "folder") is None


def test_a_shard_under_the_name_of_another_is_computed_anew(tmp_path, computed):
    """Copied, renamed or restored by hand, it is whole and holds other numbers."""
    first = compute(tmp_path)
    names = [Task(workers.square, (float(i),)).key for i in range(4)]
    shutil.copy(tmp_path / f"{names[1]}.safetensors", tmp_path / f"{names[2]}.safetensors")
    computed.clear()
    assert numbers(compute(tmp_path)) == numbers(first) and computed == [2.0]


def test_an_interrupted_write_leaves_the_old_shard(tmp_path, monkeypatch):
    file = tmp_path / "shard.safetensors"
    shards.write({"a": np.arange(3)}, tmp_path, "shard")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shards.write({"a": np.arange(4)}, tmp_path, "shard")
    assert shards.read(tmp_path, "shard")["a"].tolist() == [0, 1, 2] and list(tmp_path.iterdir()) == [file]


# The name of a shard.


def test_the_name_of_a_shard_says_function_arguments_and_versions(monkeypatch):
    key = Task(workers.square, (1.0,)).key
    assert key == Task(workers.square, (1.0,)).key
    others = [Task(workers.report, (1.0,)), Task(workers.square, (2.0,)), Task(workers.square, (1.0, "cpu"))]
    others += [Task(workers.square, (1.0,), made_by=(workers.threads,)), Task(workers.square, (studies.Condition(),))]
    others += [Task(workers.square, (studies.Condition(depth=3),))]
    assert len({key, *(task.key for task in others)}) == 7
    assert Task(workers.square, (1.0,), inputs=("these follow from the arguments",)).key == key
    monkeypatch.setattr(shards, "versions", lambda: ["0.0"])
    assert Task(workers.square, (1.0,)).key != key


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A copy of riemlib whose code is read in the place of the real one; returns the names of three shards after an edit of a file."""
    shutil.copytree(ROOT / "riemlib", tmp_path / "riemlib", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    cell = studies.Condition(), (0, 1), "cpu"

    def keys(file: str = "", old: str = "", new: str = "") -> list[str]:
        path = tmp_path / "riemlib" / file
        text = path.read_text(encoding="utf-8") if file else ""
        if file:
            assert old in text
            path.write_text(text.replace(old, new), encoding="utf-8")
        provenance.code_of.cache_clear()
        f, g = studies.smoothness, studies.certified_share
        tasks = [Task(studies.train, cell), *(Task(studies.measure, (*cell, m.__name__), made_by=(m, studies.train)) for m in (f, g))]
        found = [task.key for task in tasks]
        if file:
            path.write_text(text, encoding="utf-8")
        return found

    yield keys
    provenance.code_of.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("engines.py", "MINIBATCH_SEED_OFFSET = 2**31", "MINIBATCH_SEED_OFFSET = 2**30", [True, True, True]),
        ("networks.py", "[step ** (m - i)]", "[step]", [True, True, True]),
        ("curves.py", "second = first.diff(dim=-3)", "second = first", [False, True, False]),
        ("charts.py", "WIDEST = 12", "WIDEST = 11", [False, False, True]),
        ("companion/ledger.py", "SOURCES = tuple(WHOSE)", "SOURCES = ('nobody',)", [False, False, False]),
        ("curves.py", "    first = images.diff", "    # a comment\n    first = images.diff", [False, False, False]),
        ("curves.py", "How sharply points change", "How quickly points change", [False, False, False]),
    ],
)
def test_the_name_of_a_shard_changes_with_the_code_behind_its_function_only(elsewhere, file, old, new, stale):
    """Training, a measure by `curves`, a measure by `charts`; ledger, comments and docstrings are behind none of them."""
    before, after = elsewhere(), elsewhere(file, old, new)
    assert [a != b for a, b in zip(before, after, strict=True)] == stale
    assert elsewhere() == before and len(set(before)) == 3


# Processes that work, and die.


def test_processes_give_the_same_bits_are_replaced_when_they_die_and_are_given_up_in_the_end(tmp_path, monkeypatch):
    """One test, so that the processes are started once: work done elsewhere; a task that kills its worker once; one that always does."""
    here, there = compute(tmp_path / "1", function=workers.report), compute(tmp_path / "2", function=workers.report, workers=2)
    assert numbers(here) == numbers(there)
    assert [file.name for file in kept(tmp_path / "1")] == [file.name for file in kept(tmp_path / "2")]
    assert {int(result["process"]) for result in here} == {os.getpid()}
    assert os.getpid() not in {int(result["process"]) for result in there}

    log = tmp_path / "first"
    tasks = [Task(workers.mortal, (i, str(log))) for i in range(5)]
    found = shards.compute(tasks, folder=tmp_path / "3", workers=2, progress=False)
    assert [result["value"].tolist() for result in found] == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert len(log.read_text().split()) == 1 and len(kept(tmp_path / "3")) == 5

    monkeypatch.setattr(shards, "ATTEMPTS", 1)
    log = tmp_path / "second"
    tasks = [Task(workers.doomed, (i, str(log), os.getpid())) for i in range(2)]
    shards.write({"value": np.array([0.0])}, tmp_path, tasks[0].key)  # so that one is left
    with pytest.raises(RuntimeError, match="workers died 1 times.* 1 shards are missing: 1"):
        shards.compute(tasks, folder=tmp_path, workers=2, progress=False)
    assert len(log.read_text().split()) == 1
    assert [file.stem for file in kept(tmp_path)] == [tasks[0].key]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_work_that_was_killed_goes_on_from_there(tmp_path, computed):
    """Only what was not finished is computed, and the whole is what an undisturbed run gives."""
    folder = tmp_path / "killed"
    if not (process := os.fork()):
        try:
            compute(folder, count=20, function=workers.slow)
        finally:
            os._exit(0)
    wait_for(lambda: kept(folder))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    finished = len(kept(folder))
    assert 0 < finished < 20
    tasks = [Task(workers.slow, (float(i),)) for i in range(20)]
    for task in tasks[8:]:  # not to wait for all of them again
        shards.write({name: value.numpy() for name, value in workers.square(*task.arguments).items()}, folder, task.key)
    again = shards.compute(tasks, folder=folder, workers=1, progress=False)
    assert computed == [float(i) for i in range(finished, 8)]
    assert numbers(again) == numbers([workers.square(float(i)) for i in range(20)])


def test_workers_end_with_the_process_that_started_them(tmp_path):
    """One that is killed; its workers hold its output until they have ended. One of them was never given a task."""
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(Path(workers.__file__).parent)!r})
        import workers
        from riemlib.companion import shards
        tasks = [shards.Task(workers.sleepy, (1.0, {str(tmp_path / "begun")!r}))]
        shards.compute(tasks, folder={str(tmp_path)!r}, workers=2, progress=False)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
    wait_for((tmp_path / "begun").exists)
    process.kill()
    process.communicate(timeout=5)  # they look twice a second


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline
        time.sleep(0.01)


# A cluster.


@pytest.fixture(scope="module")
def server():
    """Starts processes of dask, each by a line, and ends them all."""
    pytest.importorskip("distributed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen([sys.executable, workers.__file__], env=environment, start_new_session=True, **pipes)

    def start(name: str, file: Path) -> int:
        process.stdin.write(f"{name} {file}\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    yield start
    process.communicate()  # the end of its input is the end of it


class Cluster:
    """A dask scheduler, to which workers are added, each in a process of its own."""

    def __init__(self, server, file: Path):
        self.server, self.file = server, file
        self.processes = [server("scheduler", file)]
        wait_for(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def add(self, *names: str) -> list[int]:
        added = [self.server(name, self.file) for name in names]
        self.processes += added
        return added


@pytest.fixture
def new_cluster(server, tmp_path):
    made = Cluster(server, tmp_path / "scheduler.json")
    yield made
    for process in made.processes:
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def cluster(new_cluster):
    """A client of a cluster with two workers."""
    import distributed

    new_cluster.add("worker", "worker")
    with distributed.Client(new_cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        yield client


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(shards, "LOOK", 0.2)
    monkeypatch.setattr(shards, "PATIENCE", 1.0)


def kill_one(client) -> bool:
    """Kills the busier of the workers; whether it was at work."""
    pids, busy = client.run(os.getpid), client.processing()
    victim = max(busy, key=lambda address: len(busy[address]))
    os.kill(pids[victim], signal.SIGKILL)
    while victim in client.nthreads():
        time.sleep(0.01)
    return len(busy[victim]) > 0


def test_a_cluster_gives_the_same_bits_survives_a_worker_and_is_given_up_in_the_end(cluster, tmp_path, monkeypatch):
    """One test, so that the cluster is started once. Its address is given, or in the environment; it is the cluster that works."""
    address, write, at_work = cluster.scheduler.address, shards.write, []
    here = compute(tmp_path / "here", count=12, function=workers.slow)
    pids = set(cluster.run(os.getpid).values())
    monkeypatch.setenv("RIEMLIB_SCHEDULER", address)
    assert {int(result["process"]) for result in compute(tmp_path / "0", function=workers.report)} <= pids
    monkeypatch.delenv("RIEMLIB_SCHEDULER")

    def kills(result, folder, key):
        write(result, folder, key)
        if not at_work:
            at_work.append(kill_one(cluster))

    monkeypatch.setattr(shards, "write", kills)
    there = compute(tmp_path / "there", count=12, function=workers.slow, scheduler=address)
    monkeypatch.setattr(shards, "write", write)
    assert at_work == [True] and len(cluster.nthreads()) == 1  # killed while shards were in flight
    assert numbers(here) == numbers(there)
    alive = compute(tmp_path / "1", function=workers.report, scheduler=address)
    assert {int(result["process"]) for result in alive} == set(cluster.run(os.getpid).values())  # a cluster of one is a cluster

    monkeypatch.setattr(shards, "ATTEMPTS", 1)
    cluster.run_on_scheduler(lambda dask_scheduler: setattr(dask_scheduler, "allowed_failures", 0))
    tasks, raised = [Task(workers.doomed, (1, str(tmp_path / "log"), os.getpid()))], []

    def run():
        try:
            shards.compute(tasks, folder=tmp_path, scheduler=address, progress=False)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)  # an error, not a wait without end
    assert [type(error) for error in raised] == [RuntimeError] and "workers died" in str(raised[0])


@pytest.mark.parametrize(("name", "cause"), [("bare", "No module named 'riemlib'"), ("other", "other code or other libraries")])
def test_workers_that_cannot_give_these_numbers_are_refused_whenever_they_come(new_cluster, tmp_path, monkeypatch, impatient, name, cause):
    """One that is there; one that comes while others work."""
    monkeypatch.setattr(shards, "PATIENCE", 30.0)
    new_cluster.add(name)
    refused(new_cluster, tmp_path / "1", cause)
    os.kill(new_cluster.processes.pop(), signal.SIGKILL)
    new_cluster.add("worker")
    write, added = shards.write, []

    def adds(result, folder, key):
        write(result, folder, key)
        if not added:
            added.extend(new_cluster.add(name))

    monkeypatch.setattr(shards, "write", adds)
    refused(new_cluster, tmp_path / "2", cause)
    assert added


def refused(cluster: Cluster, folder: Path, cause: str) -> None:
    """There is an error that names the cause; within seconds, not a wait without end."""
    raised = []

    def run():
        try:
            compute(folder, count=60, function=workers.slow, scheduler=cluster.address)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(8)
    assert [type(error) for error in raised] == [RuntimeError] and cause in str(raised[0]), raised


def test_a_worker_says_under_which_key_its_own_code_gives_a_shard(monkeypatch):
    task = Task(workers.square, (1.0,))
    key = task.key
    assert shards.work_there(task)[0] == key
    monkeypatch.setattr(shards, "versions", lambda: ["0.0"])
    assert shards.work_there(task)[0] != key == task.key


def test_the_loss_of_the_last_worker_and_of_the_scheduler_end_with_an_error(new_cluster, tmp_path, monkeypatch, impatient):
    write, victims = shards.write, [*new_cluster.add("worker"), *new_cluster.processes[:1]]

    def kills(result, folder, key):
        write(result, folder, key)
        if victims:
            os.kill(victims.pop(0), signal.SIGKILL)

    monkeypatch.setattr(shards, "write", kills)
    with pytest.warns(RuntimeWarning, match="has no workers; waiting 1.0 s for one"):
        refused(new_cluster, tmp_path / "1", "has had no workers for 1.0 s")
    new_cluster.add("worker")
    refused(new_cluster, tmp_path / "2", "has gone")
    refused(new_cluster, tmp_path / "3", f"no dask scheduler answers at {new_cluster.address}")


# Progress.


def test_progress_is_shown_here_or_told_to_the_run(tmp_path, monkeypatch, capsys):
    """In the kernel of a run bars are silenced, and a file says how far a study is; otherwise a bar does."""
    file, said, update = tmp_path / "progress", [], progress.Told.update
    monkeypatch.setattr(progress.Told, "update", lambda self, steps=1: update(self, steps) or said.append(progress.told(file)))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    compute(tmp_path / "1", progress=True)
    assert "".join(capsys.readouterr()) == ""
    monkeypatch.setenv("RIEMLIB_PROGRESS", str(file))
    compute(tmp_path / "2")
    assert said == []
    compute(tmp_path / "3", progress=True)
    assert said == [f"square shards {done}/4" for done in range(5)] and progress.told(file) == ""
    assert "".join(capsys.readouterr()) == "" and list(tmp_path.glob("*progress*")) == []
    compute(tmp_path / "3", progress=True)
    assert len(said) == 5  # nothing to do, nothing to tell
    monkeypatch.setenv("RIEMLIB_PROGRESS", str(tmp_path / "nowhere" / "progress"))
    compute(tmp_path / "4", progress=True)  # no reason to fail
    monkeypatch.delenv("RIEMLIB_PROGRESS")
    monkeypatch.delenv("TQDM_DISABLE")
    compute(tmp_path / "5", progress=True)
    assert "square shards" in "".join(capsys.readouterr())


def test_progress_that_is_half_written_is_none(tmp_path):
    (tmp_path / "progress").write_text("3")
    assert progress.told(tmp_path / "progress") == "" == progress.told(tmp_path)


def test_results_are_tensors_of_their_own(tmp_path):
    first = compute(tmp_path)[1]
    first["sums"].zero_()
    assert torch.equal(compute(tmp_path)[1]["sums"], workers.square(1.0)["sums"])
