"""Do the verdicts die with the mathematics? Breaks riemlib in one place at a time, in a copy, and runs the notebooks that speak of it.

    python tests/verdict_mutants.py [part of a name] [--publish]
    python tests/verdict_mutants.py --shifted

The unbroken run comes first: there each claim that a mutant names has to be confirmed, under conditions or without. In the broken copy
none of them may be. Prints what each claim becomes, and with `--publish` puts it into verdict_mutants.csv. Exits with 1 where a verdict
survives. Not part of the test run: a mutant takes a minute or two. It uses what `make paper` has kept, as far as the broken code did not
make it.

`--shifted` asks another thing: do the verdicts stay with other seeds? It trains all networks of all studies from seeds that are larger by
1000.
"""

import csv
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jupytext
from mutants import source_file
from nbclient import NotebookClient

from riemlib.companion.ledger import MIME

ROOT = Path(__file__).parent.parent
TABLE = Path(__file__).with_suffix(".csv")
CONFIRMED = ("confirmed", "confirmed with conditions")

#: The metric by torch alone, where it can be broken without a broken training
BY_TORCH = ("metric", "if not differentiable and engines.sweeps(", "if False and engines.sweeps(")
OF_THE_METRIC = {
    "04_1_metric": ["pullback-recursion", "residual-jacobian", "product-order", "line-element", "pushforward-pullback"],
    "05_lie_groups": ["left-actions"],
    "06_backpropagation": ["backprop-right-action"],
}
OF_THE_ORDER = {
    "04_1_metric": ["pullback-recursion", "product-order", "line-element", "pushforward-pullback"],
    "05_lie_groups": ["left-actions"],
    "06_backpropagation": ["backprop-right-action"],
}
#: what `contrasts` compares seed by seed
PAIRS = "np.stack([first[finite], second[finite]], axis=1)"
OF_CONTRASTS = {
    "03_ck_networks": ["weights-regular"],
    "04_2_data_manifold": ["width-easier"],
    "07_1_smoothness": ["smoother-layers"],
}

#: name -> (what is put in the place of what in which modules, the claims of each notebook that speak of it)
MUTANTS: dict[str, tuple[list[tuple[str, str, str]], dict[str, list[str]]]] = {
    "slopes are noise": ([BY_TORCH, ("metric", "slopes.append(slope)", "slopes.append(slope * torch.rand_like(slope))")], OF_THE_METRIC),
    "layers permuted": (
        [BY_TORCH, ("metric", "for l in reversed(range(layer, len(slopes))):", "for l in range(layer, len(slopes)):")],
        OF_THE_ORDER,
    ),
    "a transposed Jacobian": ([BY_TORCH, ("metric", "torch.bmm(W.mT.expand", "torch.bmm(W.expand")], OF_THE_METRIC),
    "a factor of the product rightmost": (
        [("limits", "P @ A_n if reverse else A_n @ P", "A_n @ P if reverse else P @ A_n")],
        {"08_appendix": ["product-converges"]},
    ),
    "e^M dropped from the bound": (
        [("limits", "np.exp(M) * (omega @ h + M**2 / 2 * (h @ h))", "omega @ h + M**2 / 2 * (h @ h)")],
        {"08_appendix": ["product-converges"]},
    ),
    "the sign of the adjoint": (
        [("limits", "-W(l).mT @ (slope * state[1])", "W(l).mT @ (slope * state[1])")],
        {"06_backpropagation": ["adjoint-limit"]},
    ),
    "labels shuffled within pairs": ([("companion.contrasts", PAIRS, f"np.random.default_rng(0).permuted({PAIRS}, axis=1)")], OF_CONTRASTS),
    "seeds paired wrongly, with the labels": (
        [("companion.contrasts", PAIRS, f"np.where(np.arange(finite.sum())[:, None] % 2, {PAIRS}, {PAIRS}[::-1, ::-1])")],
        OF_CONTRASTS,
    ),
    "the two conditions swapped": ([("companion.contrasts", PAIRS, "np.stack([second[finite], first[finite]], axis=1)")], OF_CONTRASTS),
}

SEEDS = ("companion.studies", "seeds = checks.seeds(seeds)", "seeds = tuple(seed + 1000 for seed in checks.seeds(seeds))")
WITH_STUDIES = ["02_notation", "03_ck_networks", "04_2_data_manifold", "07_1_smoothness", "07_2_metric_balls", "07_3_batch_size"]


def verdicts(copy: Path, notebook: str) -> dict[str, str]:
    """The verdict of each claim that a notebook decides with the riemlib of this copy. A cell that fails decides nothing."""
    made = jupytext.read(copy / "notebooks" / f"{notebook}.py")
    made.cells = [cell for cell in made.cells if cell.cell_type == "code" and "nbval-skip" not in cell.metadata.get("tags", [])]
    NotebookClient(made, timeout=1200, allow_errors=True, kernel_name="python3", resources={"metadata": {"path": str(copy)}}).execute()
    data = [output.get("data", {}) for cell in made.cells for output in cell.outputs]
    return {each[MIME]["id"]: each[MIME]["verdict"] for each in data if MIME in each}


def broken(copy: Path, changes: list[tuple[str, str, str]], notebooks: list[str]) -> dict[str, str]:
    """The verdicts with these changes, which are taken back."""
    sources = {}
    for module, old, new in changes:
        path = source_file(copy, module)
        text = path.read_text(encoding="utf-8")
        sources.setdefault(path, text)
        if text.count(old) != 1:
            raise RuntimeError(f"{old!r} stands {text.count(old)} times in {path.name}; once is needed")
        path.write_text(text.replace(old, new), encoding="utf-8")
    try:
        return {id: verdict for notebook in notebooks for id, verdict in verdicts(copy, notebook).items()}
    finally:
        for path, text in sources.items():
            path.write_text(text, encoding="utf-8")


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the project, whose riemlib the kernels import."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("riemlib", "notebooks"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*", "*.ipynb"))
        studies = os.environ.get("RIEMLIB_STUDIES", str(ROOT / "build" / "studies"))
        os.environ.update(PYTHONPATH=folder, RIEMLIB_STUDIES=studies, RIEMLIB_BUILD=str(copy / "build"), TQDM_DISABLE="1")
        yield copy


def shifted() -> int:
    """Prints the verdicts of the notebooks with studies, and those with other seeds. Returns how many differ."""
    with copied() as copy:
        before, after = (broken(copy, changes, WITH_STUDIES) for changes in ([], [SEEDS]))
    for id, verdict in before.items():
        print(f"{'same   ' if after.get(id) == verdict else 'DIFFERS'}  {id}: {verdict} -> {after.get(id, 'not decided')}")
    return sum(after.get(id) != verdict for id, verdict in before.items())


def write(rows: list[tuple[str, str, str, str]]) -> None:
    """Puts these rows into the table. Those of mutants that did not run stay."""
    known = [tuple(row) for row in csv.reader(TABLE.open(encoding="utf-8"))][1:] if TABLE.exists() else []
    found = {row[:2]: row for row in [*known, *rows]}
    wanted = [(name, id) for name, (_, claims) in MUTANTS.items() for ids in claims.values() for id in ids]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        lines = [("mutant", "claim", "unbroken", "broken"), *(found[each] for each in wanted if each in found)]
        csv.writer(file, lineterminator="\n").writerows(lines)


def main(part: str = "", publish: bool = False) -> int:
    chosen = {name: mutant for name, mutant in MUTANTS.items() if part in name}
    rows, survivors = [], 0
    with copied() as copy:
        whole = broken(copy, [], sorted({notebook for _, claims in chosen.values() for notebook in claims}))
        for name, (changes, claims) in chosen.items():
            found = broken(copy, changes, list(claims))
            for id in (id for ids in claims.values() for id in ids):
                before, after = whole.get(id, "not decided"), found.get(id, "not decided")
                lives = before not in CONFIRMED or after in CONFIRMED
                survivors += lives
                rows.append((name, id, before, after))
                print(f"{'SURVIVES' if lives else 'dies    '}  {name}: {id}, {before} -> {after}", flush=True)
    if publish:
        write(rows)
    print(f"{len(rows) - survivors} of {len(rows)} verdicts die")
    return 1 if survivors else 0


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    sys.exit(shifted() if "--shifted" in sys.argv else main(*given, publish="--publish" in sys.argv))
