"""README.md: every Python snippet runs by itself and does what the text says; every command exists.

The snippets run as they stand, but for how much they train (`SHORTER`): fewer seeds and fewer updates.
"""

import ast
import functools
import os
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import jupytext
import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from reference import error

import riemlib as rl
from riemlib.__main__ import main, parser
from riemlib.companion import build, parameters

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="no README.md")

TEXT = README.read_text(encoding="utf-8") if README.exists() else ""
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
SNIPPETS = [block for language, block in BLOCKS if language == "python"]
NETWORK, TABLE, MODULE, PENALTY, CURVATURE, STUDY = range(6)
#: snippet -> what stands there, and what is run in its place
SHORTER = {
    NETWORK: {"seeds=range(64)": "seeds=range(4)", "updates=3000": "updates=100"},
    TABLE: {"updates=1000": "updates=300"},
    PENALTY: {"range(300)": "range(100)"},
    STUDY: {"seeds=range(100)": "seeds=range(10)", "updates=800": "updates=20"},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a snippet in a folder of its own, and returns the names it binds and the values of its lines that are expressions."""
    monkeypatch.chdir(tmp_path)
    for name in ("RIEMLIB_SCHEDULER", "RIEMLIB_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RIEMLIB_STUDIES", str(tmp_path / "studies"))
    monkeypatch.setenv("TQDM_DISABLE", "1")
    matplotlib.use("agg")

    def call(number: int) -> tuple[dict, list]:
        names, values = {"__name__": "__main__"}, []
        text = SNIPPETS[number]
        for given, shorter in SHORTER.get(number, {}).items():
            assert text.count(given) == 1
            text = text.replace(given, shorter)
        for line in re.split(r"\n(?=\S)", text):
            try:
                values.append(eval(line, names))
            except SyntaxError:
                exec(line, names)
        return names, values

    return call


def test_the_snippets_are_those_tested_here():
    starts = ["sample = rl.spiral(1000", "pd.read_csv", "nn.Conv2d", "adam", "rl.riemann", "rl.study("]
    assert len(SNIPPETS) == len(starts) and all(start in text for start, text in zip(starts, SNIPPETS, strict=True))
    for text in SNIPPETS:
        assert "import riemlib as rl" in text
    for number in (TABLE, MODULE):  # ten lines
        assert len([line for line in SNIPPETS[number].splitlines() if line]) <= 10


def test_a_network_and_its_geometry(run):
    names, values = run(NETWORK)
    net, sample, balls, found = (names[name] for name in ("net", "sample", "balls", "found"))
    (x, g), (condition, volume) = values[-2:]
    assert len(names["run"].networks) == 4 and len(net.weights) == 10 and sorted(sample.label.unique().tolist()) == [0, 1]
    assert error([x], [net.coordinates(sample.x)[3].detach()]) < 1e-6 and error([g], [rl.pullback_metric(net[3:], x)]) < 1e-4
    exact = rl.geometry(net.double(), sample.x.double()).balls(0.1)[0]
    clear = exact.condition_number.sqrt() < 2e3
    assert clear.any() and error([balls.axes[clear].double()], [exact.axes[clear]]) < 1e-2 and not balls.axes[clear].isinf().any()
    assert error([condition[clear].double()], [(exact.axes[:, 0] / exact.axes[:, 1]).square()[clear]]) < 2e-2
    assert error([volume[clear].double()], [torch.linalg.det(rl.geometry(net, sample.x.double()).P[0]).abs().log()[clear]]) < 1e-2
    assert len(found.P) == 11
    hidden = torch.diag(torch.tensor([1.0, 1e-8]))[None]
    with pytest.raises(ValueError, match="its own rounding hides"):
        rl.balls(hidden, 0.1)
    assert rl.balls_of(torch.diag(torch.tensor([1.0, 1e-4]))[None], 0.1).axes[0].tolist() == pytest.approx([1e3, 0.1])


def test_a_table_of_points(run, tmp_path):
    """Of any two columns of numbers and a column of names."""
    sample = rl.spiral(240, positions="random", turns=0.5)
    kind = np.where(sample.label == 1, "ant", "zebra")  # class 1 comes first in the alphabet
    pd.DataFrame({"id": range(240), "kind": kind, "a": sample.x[:, 0], "b": sample.x[:, 1]}).to_csv("points.csv", index=False)
    names, _ = run(TABLE)
    balls, net, fit, x = (names[name] for name in ("balls", "net", "run", "x"))
    assert fit.classes == ("ant", "zebra") and error([x], [sample.x]) < 1e-6
    assert names["label"].tolist() == [0 if name == "ant" else 1 for name in kind]
    assert float(fit.error.min()) == float((net(x).argmax(1) != names["label"]).double().mean()) < 0.2
    longest = balls.directions[:, :, 0] * balls.axes[:, :1]
    length = rl.squared_length(rl.pullback_metric(net[:].double(), x.double()), longest.double()).sqrt()
    assert len(balls.axes) == 240 and error([length], [torch.full_like(length, 0.1)]) < 1e-2
    picture = matplotlib.image.imread(tmp_path / "balls.png")
    assert picture.ndim == 3 and len(np.unique(picture.reshape(-1, picture.shape[2]), axis=0)) > 100


def test_three_names_need_three_classes():
    labels = ["ant", "bee", "zebra"] * 4
    x = torch.randn(12, 2)
    settings = dict(seeds=[0], batch_size=4, updates=1, learning_rate=1e-2, progress=False)
    assert rl.fit(rl.CkNetwork([2] * 3, classes=3), (x, labels), **settings).classes == ("ant", "bee", "zebra")
    with pytest.raises(ValueError, match="label spans 0 to 2; 0 to 1 is needed"):
        rl.fit(rl.CkNetwork([2] * 3), (x, labels), **settings)


def test_a_module_of_ones_own(run):
    names, _ = run(MODULE)
    model, images, P, g, balls = (names[name] for name in ("model", "images", "P", "g", "balls"))
    assert tuple(P.shape) == (20, 3, 64) and tuple(g.shape) == (20, 64, 64) and error([P.mT @ P], [g]) < 1e-5
    assert (balls.axes.isinf().sum(1) == 61).all()
    assert float((P @ balls.directions[:, :, :61]).abs().max()) < 1e-5  # the directions of the infinite axes change nothing
    small = 1e-2
    with torch.no_grad():
        step = small * (names["least"][:, None, None] * names["leading"])[:, None]
        moved = (model.double()((images + step).double()) - model(images.double())).norm(dim=1)
    assert error([moved], [torch.full_like(moved, 0.1 * small)]) < 1e-2  # and the leading one moves the output by the radius
    model.train()
    with pytest.raises(ValueError, match=r"\.eval\(\)"):
        rl.pullback_metric(model, images.double())


def test_a_penalty_on_the_metric(run, capsys):
    """The condition number falls, to less than half, and the classes are still told apart."""
    run(PENALTY)
    lines = capsys.readouterr().out.splitlines()
    found = [re.fullmatch(r"weight ([\d.]+): error ([\d.]+)%, condition number ([\d.]+)", line).groups() for line in lines]
    (_, error_without, without), (_, error_with, with_penalty) = [map(float, line) for line in found]
    assert with_penalty < without / 2 and error_without < 10 and error_with < 20


def test_a_penalty_for_any_module():
    """`differentiable=True` carries gradients to the weights, and its absence does not."""
    model, x = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3)), torch.randn(5, 2)
    rl.pullback_metric(model, x, differentiable=True).square().sum().backward()
    assert float(model[0].weight.grad.abs().max()) > 0
    assert not rl.pullback_metric(model, x).requires_grad


def test_curvature_of_any_map(run):
    names, _ = run(CURVATURE)
    r2 = names["x"].square().sum(1)
    assert error([names["K"]], [4 / (1 + 4 * r2) ** 2]) < 1e-9
    assert error([names["volume"]], [(1 + 4 * r2).sqrt()]) < 1e-12


def test_many_seeds(run):
    names, (shares, rough) = run(STUDY)
    assert shares.index.tolist() == [2, 4] and shares.between(0, 1).all()
    assert len(rough) == 20 and {"network", "width", "seed", "error", "value"} <= set(rough) and rough["updates"].unique().tolist() == [20]
    assert len(names["net"].weights) == 10


# Commands.


def commands() -> list[list[str]]:
    """The commands of the text: the lines of shell blocks, and what stands between backticks. Environment variables are left out."""
    lines = [line for language, block in BLOCKS if language != "python" for line in block.splitlines()]
    lines += re.findall(r"`(make [^`]+)`", TEXT)
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def test_there_are_commands():
    assert {words[0] for words in commands()} == {"make", ".venv/bin/python"}
    assert {words[1] for words in commands() if words[0] == "make"} >= {"paper", "test", "lab", "site", "bench", "help"}


MAKE = [words for words in commands() if words[0] == "make"]
SHELL = [words[3:] for words in commands() if words[0] != "make"]
STUB = """#!/bin/sh
# A Python that only writes down what it was asked for.
echo "$@" >> "$(dirname "$0")/calls"
"""


@pytest.mark.parametrize("words", MAKE, ids=" ".join)
def test_a_target_of_make_asks_python_for_what_it_has(words, tmp_path):
    """It runs in a folder of its own with a Python that does nothing: modules and files exist, and the commands take the options."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").write_text(STUB)
    (tmp_path / "bin/python").chmod(0o755)
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    made = subprocess.run([*words, f"VENV={tmp_path}"], cwd=tmp_path, env=outside, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    calls = (tmp_path / "bin/calls").read_text() if (tmp_path / "bin/calls").exists() else made.stdout
    assert calls and all(word.partition("=")[2].lower() in calls for word in words[2:])
    for call in map(shlex.split, calls.splitlines() if calls != made.stdout else ()):
        if call[:2] == ["-m", "riemlib"]:
            parser().parse_args(call[2:])
        else:
            assert find_spec(call[1]) if call[0] == "-m" else (ROOT / call[0]).is_file()


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A project with the notebooks that the commands name, each with the parameters of the real one and a line that prints them."""
    root = tmp_path_factory.mktemp("small")
    (root / "notebooks").mkdir()
    (root / "requirements.lock").write_text("")
    for name in {word for words in SHELL for word in words if word in build.names(ROOT)}:
        nb = build.source(ROOT, name)
        (cell,) = (cell for cell in nb.cells if "parameters" in cell.metadata.get("tags", []))
        shows = nbformat.v4.new_code_cell("print({name: value for name, value in globals().items() if name in KNOWN})")
        shows.source = shows.source.replace("KNOWN", repr([*parameters.known(nb)]))
        nb.cells = [cell, shows]
        jupytext.write(nb, root / f"notebooks/{name}.py", fmt="py:percent")
    return root


def printed(file: Path) -> dict:
    (text,) = [output.text for cell in nbformat.read(file, as_version=4).cells for output in cell.get("outputs", [])]
    return ast.literal_eval(text)


def test_the_commands_of_riemlib_run(small, monkeypatch, capsys):
    """In the order of the text, on small notebooks, but that everything was run and published before."""
    for name in ("run", "publish", "check"):
        monkeypatch.setattr(build, name, functools.partial(getattr(build, name), small))
    assert main(["run"]) == 0 and main(["publish"]) == 0
    (small / "build/full/04_1_metric.ipynb").unlink()
    for words in SHELL:
        assert main(words) == 0, words
        said = capsys.readouterr().out
        names = [word for word in words if word in build.names(ROOT)] or build.names(small)
        if words[0] == "run":
            given = parser().parse_args(words).parameter
            for name in names:
                found = printed(small / "build" / ("custom" if given else "full") / f"{name}.ipynb")
                assert {f"{key}={value}" for key, value in found.items()} >= set(given) and found
        elif words[0] == "check":
            assert "are those of today's code" in said
        else:
            assert words == ["publish"] and said.count("is up to date") == len(names)
    assert {words[0] for words in SHELL} == {"run", "check", "publish"}


@pytest.mark.parametrize("words", SHELL, ids=" ".join)
def test_the_commands_of_riemlib_fit_the_real_notebooks(words, capsys):
    given = parser().parse_args(words)
    if given.command == "run":
        chosen = build.selected(ROOT, given.profile, given.names)
        parameters.given(given.parameter, {name: build.source(ROOT, name) for name in chosen})
    with pytest.raises(SystemExit) as stopped:
        main([words[0], "--help"])
    assert stopped.value.code == 0 and words[0] in capsys.readouterr().out


def test_every_command_of_the_other_texts_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8") + (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)`", text)) <= targets
    for command in re.findall(r"python -m riemlib ([^`]+)`", text):
        assert parser().parse_args(shlex.split(command.replace("NAME", "04_1_metric", 1)))
    named = re.findall(r"`([\w.]+(?:/[\w.]+)+)`", text) + re.findall(r"`([\w-]+\.(?:md|toml|cff|lock))`", text)
    assert not [name for name in named if not name.startswith(("build/", "notebooks/NAME")) and not (ROOT / name).exists()]
