"""Do the tests notice? Breaks riemlib in one place at a time, in a copy, and runs the tests that should go red.

    python tests/mutants.py [part of a name]

Says for each mutant which test killed it; exits with 1 where one survives. Not part of the test run: it takes some minutes.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: name -> (module, what stands there, what is put in its place, the tests to run)
MUTANTS = {
    "the product of Eq. 12 reversed": (
        "metric",
        "    for (W, _, rows), slope in reversed(list(zip(layers(net), found, strict=True))[layer:]):\n        P = pull",
        "    for (W, _, rows), slope in list(zip(layers(net), found, strict=True))[layer:]:\n        P = pull",
        "metric",
    ),
    "the sweep of Eq. 10 reversed": (
        "metric",
        "    for (W, _, rows), slope in reversed(list(zip(layers(net), found, strict=True))):\n        P = pull",
        "    for (W, _, rows), slope in zip(layers(net), found, strict=True):\n        P = pull",
        "metric",
    ),
    "W not transposed": ("metric", "torch.bmm(W.mT.expand", "torch.bmm(W.expand", "metric"),
    "the identity of Eq. 11 lost": ("metric", "through if blocks[0] is None else blocks[0] + through", "through", "metric"),
    "the slope lost": ("metric", "combine(B, entries) * slope", "combine(B, entries)", "metric"),
    "slope at the wrong layer": ("metric", "        state = advance(state, f, rows)\n    return found", "    return found", "metric"),
    "one row of P lost": ("metric", "for row in P[1:]:", "for row in P[2:]:", "metric"),
    "P Pᵀ for Pᵀ P": ("metric", "        return P.mT @ P\n", "        return P @ P.mT\n", "metric"),
    "the root of η transposed": ("metric", ".sqrt()[..., None] * vectors.mT", ".sqrt()[..., None] * vectors", "metric"),
    "J Jᵀ for Jᵀ J": ("metric", "return J.mT @ J\n", "return J @ J.mT\n", "metric"),
    "output metric ignored": ("metric", "    if output_metric is not None:\n        root", "    if False:\n        root", "metric"),
    "√λ for 1/√λ": ("metric", "masked_fill(zero, 0).rsqrt()", "masked_fill(zero, 0).sqrt()", "metric"),
    "directions in rows": (
        "metric",
        "return Balls(radius * values.masked_fill(zero, 0).rsqrt(), directions)",
        "return Balls(radius * values.masked_fill(zero, 0).rsqrt(), directions.mT)",
        "metric",
    ),
    "degenerate axes finite": ("metric", "values.masked_fill(zero, 0)", "values.clamp(min=1e-30)", "metric"),
    "Jacobians transposed": ("metric", "return g.flatten(1, 2).permute(2, 0, 1)", "return g.flatten(1, 2).permute(2, 1, 0)", "metric"),
    "squared length of one index": ("metric", '"nab,na,nb->n", g, dx, dx', '"nab,na,na->n", g, dx, dx', "metric"),
    "a negative metric let in": (
        "metric",
        'checks.positive("output_metric", checks.metric("output_metric", eta, dim))',
        'checks.metric("output_metric", eta, dim)',
        "refusals",
    ),
    "Δl dropped": ("networks", "[step ** (m - i)]", "[1.0]", "networks metric"),
    "Δl not squared": ("networks", "[step ** (m - i)]", "[step]", "networks metric"),
    "a difference dropped": ("networks", "if i <= j < m else 0.0", "if i == j < m else 0.0", "networks"),
    "old differences for new": ("networks", "[step ** (m - i)] for i", "[step if i == m - 1 else 0.0] for i", "networks"),
    "the order never rises": ("networks", "[1.0]] * (order > m)", "[1.0]] * 0", "networks"),
    "differences kept at order 0": (
        "networks",
        "return [[0.0] * entries + [1.0]]",
        "return [[1.0] + [0.0] * (entries - 1) + [1.0]]",
        "networks",
    ),
    "Glorot's bound halved": ("networks", "(6 / sum(shape)) ** 0.5", "(1.5 / sum(shape)) ** 0.5", "networks"),
    "weights drawn on the default device": (
        "networks",
        'dtype=torch.float64, device="cpu").uniform_',
        "dtype=torch.float64).uniform_",
        "meta",
    ),
    "a CPU tensor in a kernel": (
        "metric",
        "torch.eye(entries * dim, dtype=slope.dtype, device=slope.device)",
        'torch.eye(entries * dim, dtype=slope.dtype, device="cpu")',
        "meta",
    ),
    "a dtype in a kernel": (
        "metric",
        "torch.eye(entries * dim, dtype=slope.dtype,",
        "torch.eye(entries * dim, dtype=torch.float32,",
        "metric",
    ),
    "minibatches by position": (
        "training",
        "manual_seed(MINIBATCHES + seed) for seed in seeds",
        "manual_seed(MINIBATCHES + i) for i, _ in enumerate(seeds)",
        "training",
    ),
    "the same minibatches for all": ("training", "manual_seed(MINIBATCHES + seed)", "manual_seed(MINIBATCHES)", "training"),
    "the template's weights for all": ("training", "for value in net.draw(seed)]", "for value in net.draw(seeds[0])]", "training"),
    "mean over seeds": ("training", "torch.autograd.grad(each.sum(), flat)", "torch.autograd.grad(each.mean(), flat)", "training"),
    "no decay": ("training", "learning_rate * (1 + math.cos(math.pi * update / updates)) / 2", "learning_rate", "training"),
    "a diverged error as a number": ("training", "wrong.masked_fill(gone, torch.nan)", "wrong", "training"),
    "divergence not said": ("training", "if not checks.holds(~gone.any()):", "if False:", "training"),
    "snapshots late by one": ("training", "if update + 1 in snapshots", "if update in snapshots", "training"),
    "a larger batch let in": ("training", "if batch_size > len(sample):", "if False:", "refusals"),
    "arms of one angle": ("manifolds", "turns * t + arm / arms", "turns * t + arm", "manifolds"),
    "a control that does not count": ("ledger", "if not weakest > 1e3 * tolerance:", "if False:", "ledger"),
    "the best error for the worst": ("ledger", "worst, weakest = max(errors", "worst, weakest = min(errors", "ledger"),
    "claims recorded twice": ("ledger", 'if claim["id"] in found:', "if False:", "ledger"),
    "verdicts typed": ("ledger", "if not isinstance(verdict, Verdict) or verdict.verdict not in VERDICTS:", "if False:", "ledger"),
}


def tests(copy: Path, names: str) -> str:
    """The first test that fails in this copy, or nothing."""
    files = [f"tests/test_{name}.py" for name in names.split()]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-m", "not speed", *files]
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=copy, capture_output=True, text=True, env=environment)
    if run.returncode == 0:
        return ""
    failed = [line for line in run.stdout.splitlines() if line.startswith("FAILED")]
    if run.returncode != 1 or not failed:
        raise RuntimeError(f"pytest did not get as far as a failing test:\n{run.stdout}{run.stderr}")
    return failed[0].split(" - ")[0].removeprefix("FAILED tests/")


def main(part: str = "") -> int:
    survivors = []
    chosen = {name: mutant for name, mutant in MUTANTS.items() if part in name}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("riemlib", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        where = [sys.executable, "-c", "import riemlib; print(riemlib.__file__)"]
        found = subprocess.run(where, cwd=copy, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": folder}).stdout
        if not Path(found.strip()).is_relative_to(copy.resolve()):
            raise RuntimeError(f"the tests would run on {found.strip()}, not on the copy")
        files = " ".join(sorted({file for *_, names in chosen.values() for file in names.split()}))
        if red := tests(copy, files):
            raise RuntimeError(f"{red} fails without any mutant")
        for name, (module, old, new, names) in chosen.items():
            path = copy / "riemlib" / f"{module}.py"
            source = path.read_text(encoding="utf-8")
            if source.count(old) != 1:
                raise RuntimeError(f"{name}: {old!r} stands {source.count(old)} times in {module}.py; once is needed")
            path.write_text(source.replace(old, new), encoding="utf-8")
            killer = tests(copy, names)
            path.write_text(source, encoding="utf-8")
            print(f"{'killed  ' if killer else 'SURVIVES'}  {name}" + (f"  ({killer})" if killer else ""), flush=True)
            if not killer:
                survivors.append(name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mutants killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
