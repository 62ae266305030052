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
    "mean over seeds": ("training", "torch.autograd.grad(each.sum(), parts)", "torch.autograd.grad(each.mean(), parts)", "training"),
    "no decay": ("training", "learning_rate * (1 + math.cos(math.pi * update / updates)) / 2", "learning_rate", "training"),
    "a diverged error as a number": ("training", "wrong.masked_fill(gone, torch.nan)", "wrong", "training"),
    "divergence not said": ("training", "if not checks.holds(~gone.any()):", "if False:", "training"),
    "snapshots late by one": ("training", "if update + 1 in snapshots", "if update in snapshots", "training"),
    "a larger batch let in": ("training", "if batch_size > len(sample):", "if False:", "refusals"),
    "arms of one angle": ("manifolds", "turns * t + arm / arms", "turns * t + arm", "manifolds"),
    "a control that does not count": ("ledger", "if not weakest > 1e3 * tolerance:", "if False:", "ledger"),
    "the best error for the worst": ("ledger", "worst, weakest = max(errors", "worst, weakest = min(errors", "ledger"),
    "claims recorded twice": ("ledger", 'if claim["id"] in found:', "if False:", "ledger"),
    "most by the value alone": (
        "ledger",
        "for name, (_, low, _) in shares.items() if low > level",
        "for name, (low, _, _) in shares.items() if low > level",
        "ledger",
    ),
    "most in one condition is most": ("ledger", "if len(above) == len(shares):", "if above:", "ledger"),
    "an exception let pass": ("ledger", "    if exceptions:\n", "    if False:\n", "ledger"),
    "p not asked for": ("ledger", "sure = {name: p is None or p[name] < level", "sure = {name: True", "ledger"),
    "the first less the second": ("evidence", "second[both] - first[both]", "first[both] - second[both]", "evidence"),
    "half a pair kept": ("evidence", "both = np.isfinite(first) & np.isfinite(second)", "both = np.isfinite(second)", "evidence"),
    "an effect without signs": ("evidence", "(ranks * np.sign(moved)).sum()", "ranks.sum()", "evidence"),
    "p of one side": ("evidence", "wilcoxon(moved).pvalue", 'wilcoxon(moved, alternative="greater").pvalue', "evidence"),
    "an annulus uniform in r²": ("manifolds", "area * (most - least)).sqrt()", "area**2 * (most - least)).sqrt()", "manifolds"),
    "the seed of an annulus lost": (
        "manifolds",
        "area, angle = torch.rand(2, n, **exact, generator=torch.Generator().manual_seed(seed))",
        "area, angle = torch.rand(2, n, **exact)",
        "manifolds",
    ),
    "a condition number of lengths": ("metric", "(axes[:, 0] / axes[:, -1]).square()", "(axes[:, 0] / axes[:, -1])", "metric"),
    "the volume of the ball": ("metric", "return -balls(g, 1.0).axes.log()", "return balls(g, 1.0).axes.log()", "metric"),
    "no seed the same seed": (
        "networks",
        'int(torch.randint(2**31, (), device="cpu")) if seed is None',
        "torch.initial_seed() if seed is None",
        "networks",
    ),
    "roughness of first differences": ("topology", "second = first.diff(dim=-3)", "second = first", "topology"),
    "roughness of accelerations' changes": (
        "topology",
        "second = first.diff(dim=-3)",
        "second = first.diff(dim=-3).diff(dim=-3)",
        "topology",
    ),
    "a diameter from the first point": ("topology", ".amax((-2, -1))", "[..., 0, :].amax(-1)", "topology"),
    "arms joined": ("topology", "return [path[..., label == c, :] for c in label.unique().tolist()]", "return [path]", "topology"),
    "the best arm for the worst": (
        "topology",
        "gap.mean(-1) for gap in gaps]).amax(0)",
        "gap.mean(-1) for gap in gaps]).amin(0)",
        "topology",
    ),
    "gaps over the median": ("topology", "gap.amax(-1) / gap.mean(-1)", "gap.amax(-1) / gap.quantile(0.9, -1)", "topology"),
    "a length of arms apart": (
        "topology",
        "return total / diameter(path)",
        "return total / sum(map(diameter, arms(path, label)))",
        "topology",
    ),
    "rounding turns": ("topology", "(angle * clear).sum(-1)", "angle.sum(-1)", "topology"),
    "turns in half": ("topology", "angle = 2 * torch.atan2", "angle = torch.atan2", "topology"),
    "complete linkage": ("topology", 'linkage(x, "single")', 'linkage(x, "complete")', "topology"),
    "components below the scale": ("topology", "> float(reach[i])", "<= float(reach[i])", "topology"),
    "a component forgotten": ("topology", "counts[i] += 1 + int(", "counts[i] += int(", "topology"),
    "crossings of chords": ("topology", "    if stages == 0:\n", "    if True:\n", "topology"),
    "one crossing looked at": ("topology", "min(len(meet), 8)", "1", "topology"),
    "no crossing survives": ("topology", "        if cross(f, _finer", "        if not cross(f, _finer", "topology"),
    "a probe not whitened": ("topology", ".fit(white, label).score(white, label)", ".fit(x, label).score(x, label)", "topology"),
    "gaps refined elsewhere": (
        "topology",
        "torch.stack([where, where + 1], -1)",
        "torch.stack([where * 0, where * 0 + 1], -1)",
        "topology",
    ),
    "a setting not passed on": ("studies", '"step": self.step', '"step": 1.0', "studies"),
    "every seed measured, diverged or not": ("studies", "value.masked_fill(gone.view", "value.masked_fill((gone & False).view", "studies"),
    "curves of the training points": (
        "studies",
        "runs.condition.sample(curve_points, torch.float64)",
        "runs.condition.sample(None, torch.float64)",
        "studies",
    ),
    "crossings at the last layer": (
        "studies",
        "for layer in range(depth + 1)] for net",
        "for layer in [depth] * (depth + 1)] for net",
        "studies",
    ),
    "shards joined backwards": (
        "studies",
        "joined([trained[condition, shard, device] for shard in shards])",
        "joined([trained[condition, shard, device] for shard in shards[::-1]])",
        "studies",
    ),
    "as many threads as there are": ("studies", "    torch.set_num_threads(1)\n", "", "studies"),
    "code left out of a shard's name": ("studies", "named, code()])", "named])", "studies"),
    "a module left out of the code": ("studies", '"metric", "networks", ', '"metric", ', "studies"),
    "a shard not compared with its digest": (
        "studies",
        "return result if kept.metadata()",
        "return result if True or kept.metadata()",
        "studies",
    ),
    "a digest without names": (
        "studies",
        "json.dumps([name, str(value.dtype), value.shape]).encode() + value.tobytes()",
        "value.tobytes()",
        "studies",
    ),
    "a shard written in place": ("studies", 'beside = path.with_name(f".{path.name}.{os.getpid()}")', "beside = path", "studies"),
    "a shard not written": ("studies", '                    write(result, folder / f"{key}.safetensors")\n', "", "studies"),
    "shards of a dead worker given up": ("studies", "continue  # what was finished", "break  # what was finished", "studies"),
    "progress always here": ("studies", "if silent or not terminal:", "if True:", "studies"),
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
