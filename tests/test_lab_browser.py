"""Every notebook in a real JupyterLab in headless Chromium: it opens, runs, its controls turn, it is saved, and it opens again."""

import ast
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import symtable
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jupytext
import pytest
import yaml
from playwright.sync_api import Page, sync_playwright
from test_book import NOTEBOOKS, chromium
from test_controls import NOTEBOOKS as PLAYING

from riemlib.companion.provenance import ROOT

pytestmark = pytest.mark.browser

#: what `make lab` runs, with arguments for JupyterLab: `python -m riemlib lab` takes none
LAB = "import sys; from riemlib.companion import lab; sys.exit(lab.lab(arguments=tuple(sys.argv[1:])))"
#: parameters that make a control's cell ready in seconds, besides those of the quick profile
FEW = {"seeds": 2, "updates": 20, "many": 2, "longer": 20, "draw_seeds": 2, "draw_updates": 20, "batches": [300, 1000]}
#: what Lab itself says when a kernel ends that it still talks to
OF_LAB = re.compile(r"Canceled future for \w+ message before replies were done")
OPENING = r"notebook\.opening\(|ledger\.gather\("  #: in the cell that shows the opening box, or gathers the claims
BUTTONS = {"07_1_smoothness": ["train"]}  #: those beside the controls
SECONDS = 60  #: the longest that anything may take, on a busy machine

#: in the page: the cells, the picture of a control (its digest), and the line of text above it
CELLS = "jupyterapp.shell.currentWidget.content.widgets"
PICTURE = """async () => {
    const bytes = await (await fetch(document.querySelector('img.widget-image').src)).arrayBuffer();
    return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-1', bytes))).join(' ');
}"""
#: every open notebook has its kernel, and no kernel works
AT_REST = """[...jupyterapp.shell.widgets('main')].every(
    widget => !widget.sessionContext || widget.sessionContext.session?.kernel?.status === 'idle')"""
MESSAGE = "document.querySelector('.widget-html-content').innerText"

# The server, on a working copy of a clone.


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """A repository with the files of this working tree in its one commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    folder = tmp_path_factory.mktemp("lab") / "clone"
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "-c", "user.name=test", "-c", "user.email=test", "commit", "--quiet", "--message", "as here")
    return folder


@pytest.fixture(scope="module")
def server(clone):
    """JupyterLab as `make lab` starts it, with no settings of this user. A kernel is reached through files, so no port is taken twice."""
    chromium()  # before the server starts
    own = Path(tempfile.mkdtemp(prefix="lab", dir="/tmp"))  # short: the name of a socket has about 100 characters
    folders = {f"JUPYTER_{kind}_DIR": str(own / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RIEMLIB_", "TQDM_"))}
    environment = {**ours, **folders, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    token, process = secrets.token_urlsafe(), None
    arguments = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", f"--IdentityProvider.token={token}"]
    arguments += ["--KernelManager.transport=ipc", "--LabApp.expose_app_in_browser=True"]
    with open(own / "log", "w", encoding="utf-8") as log:
        command = [sys.executable, "-c", LAB, *arguments]
        lab = subprocess.Popen(command, cwd=clone, env=environment, stdout=log, stderr=log)
    try:
        last, said = time.monotonic() + SECONDS, ""
        while not said.rstrip().endswith("}"):
            assert lab.poll() is None and time.monotonic() < last, (own / "log").read_text(encoding="utf-8")
            time.sleep(0.1)
            said = "".join(file.read_text(encoding="utf-8") for file in (own / "runtime").glob("jpserver-*.json"))
        process = json.loads(said)["pid"]
        yield SimpleNamespace(url=json.loads(said)["url"], token=token)
    finally:
        os.kill(process or lab.pid, signal.SIGTERM)  # of the server; then `lab` ends too
        lab.wait(SECONDS)
        shutil.rmtree(own, ignore_errors=True)


@pytest.fixture(scope="module")
def context(server):
    """A browser that loads nothing from elsewhere."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--disable-gpu"], chromium_sandbox=False)
        found = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
        found.set_default_timeout(1000 * SECONDS)
        yield found
        browser.close()


@pytest.fixture
def page(server, context):
    """JupyterLab in a window. Whatever it says is wrong, or loads from elsewhere, fails the test."""
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith((server.url, "data:", "blob:")) else None)
    page.goto(f"{server.url}lab?reset&token={server.token}")
    page.wait_for_function("window.jupyterapp")
    page.evaluate("jupyterapp.restored.then(() => true)")
    yield page
    page.wait_for_function(AT_REST)  # a kernel that ends while its notebook still opens: an error of Lab's, none of ours
    said = [text for text in wrong if not OF_LAB.search(text)]
    page.evaluate("jupyterapp.serviceManager.sessions.shutdownAll()")
    page.close()
    assert not said


# What a reader does.


def opened(page: Page, file: str) -> list[str]:
    """Opens a file as a double click does, and returns the sources of its cells."""
    page.evaluate("path => jupyterapp.commands.execute('docmanager:open', {path}).then(widget => widget.context.ready)", file)
    page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell").first.wait_for()
    nothing_is_asked(page)
    return page.evaluate(f"{CELLS}.map(cell => cell.model.sharedModel.getSource())")


def until(page: Page, done: Callable[[], object], otherwise: str) -> None:
    """Waits. Playwright's own waiting takes a promise for an answer."""
    last = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < last, otherwise
        page.wait_for_timeout(30)


def close(page: Page) -> None:
    page.wait_for_function("jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'")
    page.evaluate("jupyterapp.shell.currentWidget.dispose()")


def nothing_is_asked(page: Page) -> None:
    """There is no dialog, such as File Load Error, and no message."""
    said = page.locator(".jp-Dialog, .Toastify__toast").all_inner_texts()
    assert not said


def edited(page: Page, index: int, text: str) -> None:
    page.evaluate(f"([index, text]) => {CELLS}[index].model.sharedModel.setSource(text)", [index, text])


def looked_at(page: Page, index: int) -> None:
    """Goes to a cell: what is far from it is not drawn."""
    page.evaluate(
        """async index => {
            const notebook = jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = index;
            await notebook.scrollToCell(notebook.activeCell, 'start');
        }""",
        index,
    )


def run(page: Page, index: int) -> None:
    """Runs a cell, and looks at its outputs."""
    looked_at(page, index)
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.ready")
    page.evaluate("jupyterapp.commands.execute('notebook:run-cell')")
    nothing_went_wrong(page)


def outputs(page: Page, index: int) -> list[dict]:
    return page.evaluate(f"index => {CELLS}[index].model.outputs?.toJSON() ?? []", index)


def nothing_went_wrong(page: Page) -> None:
    """No output is an error or a warning."""
    every = page.evaluate(f"{CELLS}.flatMap(cell => cell.model.outputs?.toJSON() ?? [])")
    assert not [output for output in every if output["output_type"] == "error" or output.get("name") == "stderr"]


def save(page: Page) -> None:
    """By the keyboard; the mark of an edit goes."""
    assert page.locator(".lm-TabBar-tab.jp-mod-current.jp-mod-dirty").count()
    page.locator(".jp-Notebook").first.focus()
    page.keyboard.press("Control+s")
    page.locator(".lm-TabBar-tab.jp-mod-current.jp-mod-dirty").wait_for(state="detached")
    nothing_is_asked(page)


def play(page: Page, controls: list[str], buttons: list[str]) -> None:
    """Turns every control and presses every button. Each changes the picture, and none fails."""
    rows = page.locator(".widget-slider, .widget-dropdown")
    assert [label.strip() for label in rows.locator(".widget-label").all_inner_texts()] == controls
    for row in rows.all():
        before = page.evaluate(PICTURE)
        if (choice := row.locator("select")).count():
            texts = choice.locator("option").all_inner_texts()
            choice.select_option(texts[texts.index(choice.locator("option:checked").inner_text()) - 1])
        else:
            row.locator(".noUi-handle").press("ArrowRight")
        until(page, lambda before=before: page.evaluate(MESSAGE) or page.evaluate(PICTURE) != before, "the picture stays")
        assert page.evaluate(MESSAGE) == ""
    presses = page.locator(".jp-OutputArea .widget-button")
    assert presses.all_inner_texts() == buttons
    for button in presses.all():
        before = page.evaluate(PICTURE)
        button.click()
        until(page, lambda: page.evaluate(MESSAGE), "no line is shown")
        assert "failed" not in page.evaluate(MESSAGE) and page.evaluate(PICTURE) != before
    nothing_went_wrong(page)


# What a cell needs.


def needed(cells: list[str], last: int) -> list[int]:
    """The cells that give cell `last` its names, directly or not, and all up to the opening. In their order, `last` at the end."""
    opening = first(cells, OPENING)
    found, wanted = [last], names(cells[last])[0]
    for i in range(last - 1, -1, -1):
        needs, gives = names(cells[i])
        if i <= opening or gives & wanted:
            wanted = wanted - gives | needs
            found.insert(0, i)
    return found


def first(cells: list[str], text: str) -> int:
    """The first cell that has this regular expression."""
    return next(i for i, cell in enumerate(cells) if re.search(text, cell))


def names(cell: str) -> tuple[set[str], set[str]]:
    """The names that a cell needs, and those that it gives a value."""
    needs, gives = set(), set()
    for statement in ast.parse(cell).body:
        table = symtable.symtable(ast.unparse(statement), "cell", "exec")
        given = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
        read = reads(table) - (given if isinstance(statement, ast.For | ast.With) else set())
        needs |= (read | (given if isinstance(statement, ast.AugAssign) else set())) - gives
        gives |= given
    return needs, gives


def reads(table: symtable.SymbolTable) -> set[str]:
    """The global names that are read, in functions too."""
    here = table.get_type() == "module"
    own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced() and (here or symbol.is_global())}
    return own.union(*map(reads, table.get_children()))


def few(name: str, parameters: str) -> str:
    """The parameters cell of a notebook, with few seeds and updates."""
    quick = yaml.safe_load((ROOT / "notebooks/quick.yaml").read_text(encoding="utf-8")).get(name, {})
    chosen = {key: value for key, value in (quick | FEW).items() if f"\n{key}: " in f"\n{parameters}"}
    return "\n".join([parameters, *(f"{key} = {value!r}" for key, value in chosen.items())])


# The tests.


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_opens_runs_plays_is_saved_and_opens_again(page: Page, clone, name):
    kinds = [cell.cell_type for cell in jupytext.read(clone / f"notebooks/{name}.py").cells]
    cells = opened(page, f"{name}.ipynb")
    assert len(cells) == len(kinds)
    code = [i for i, kind in enumerate(kinds) if kind == "code"]
    cells[code[0]] = few(name, cells[code[0]])
    edited(page, code[0], cells[code[0]])
    texts = [cells[i] for i in code]
    steps = [code[i] for i in needed(texts, first(texts, "\nplay\\(" if name in PLAYING else OPENING))]
    for i in steps:
        run(page, i)
    if name in PLAYING:
        play(page, [*PLAYING[name][1]], BUTTONS.get(name, []))
    save(page)
    close(page)
    assert opened(page, f"{name}.ipynb") == cells
    nothing_went_wrong(page)
    if name in PLAYING:
        assert [set(output["data"]) for output in outputs(page, steps[-1])] == [{"image/png", "text/plain"}]
        looked_at(page, steps[-1])
        page.locator(".jp-mod-active .jp-OutputArea img").wait_for()
    assert opened(page, f"{name}.py") == cells
    assert git(clone, "status", "--porcelain") == ""
