"""Do the tests notice? Breaks riemlib in one place at a time, in a copy, and runs the tests that should go red.

    python tests/mutants.py [part of a name]

Says for each mutant which test killed it; exits with 1 where one survives. Not part of the test run: it takes some minutes. The mutants are
slips in the mathematics: a transposed factor, a dropped term, a wrong order. test_structure checks that each still has its place.
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
    # Networks (Eqs. 1-4)
    "Δl dropped": ("networks", "[step ** (m - i)]", "[1.0]", "networks"),
    "Δl not squared": ("networks", "[step ** (m - i)]", "[step]", "networks"),
    "a difference dropped": ("networks", "if i <= j < m else 0.0", "if i == j < m else 0.0", "networks"),
    "the order never rises": ("networks", "[1.0]] * (order > m)", "[1.0]] * 0", "networks"),
    "differences kept at order 0": (
        "networks",
        "return [[0.0] * entries + [1.0]]",
        "return [[1.0] + [0.0] * (entries - 1) + [1.0]]",
        "networks",
    ),
    "a part has the stencils of the first layers": ("networks", "getattr(self, name)[a:b]", "getattr(self, name)[: b - a]", "networks"),
    # The metric (Eqs. 8-12)
    "the product of Eq. 12 reversed": (
        "metric",
        "for l in reversed(range(layer, len(slopes))):",
        "for l in range(layer, len(slopes)):",
        "metric",
    ),
    "W not transposed": ("metric", "torch.bmm(W.mT.expand", "torch.bmm(W.expand", "metric"),
    "the identity of Eq. 11 lost": ("metric", "through if blocks[0] is None else blocks[0] + through", "through", "metric"),
    "the slope lost": ("metric", "combine(B, entries) * slope", "combine(B, entries)", "metric"),
    "the slope of the layer before": ("metric", "slopes[l], net.stencils[l])", "slopes[l - 1], net.stencils[l])", "metric"),
    "a length for differences at the output": ("metric", "output.new_zeros(", "output.new_ones(", "metric"),
    "one row of P lost": ("metric", "for row in P[1:]:", "for row in P[2:]:", "metric"),
    "P Pᵀ for Pᵀ P": ("metric", "        return P.mT @ P\n", "        return P @ P.mT\n", "metric"),
    "the root of η transposed": ("metric", ".sqrt()[..., None] * vectors.mT", ".sqrt()[..., None] * vectors", "metric"),
    "balls without η": ("metric", "balls_of(P if self.root is None else self.root @ P, radius)", "balls_of(P, radius)", "metric"),
    # Balls (Eq. 13)
    "√λ for 1/√λ": ("ellipsoids", "masked_fill(zero, 0).rsqrt()", "masked_fill(zero, 0).sqrt()", "ellipsoids"),
    "σ² for σ": ("ellipsoids", "radius / values.masked_fill(zero, 0)", "radius / values.masked_fill(zero, 0).square()", "ellipsoids"),
    "directions in rows": ("ellipsoids", "V.mT.flip(-1)", "V.flip(-1)", "ellipsoids"),
    "the directions that P loses are finite": (
        "ellipsoids",
        "P.shape[2] - values.shape[1]))",
        "P.shape[2] - values.shape[1]), value=1.0)",
        "ellipsoids",
    ),
    "the volume of the ball": ("ellipsoids", "return -balls(g, 1.0).axes.log()", "return balls(g, 1.0).axes.log()", "ellipsoids"),
    # Charts (section 2)
    "the determinant for all minors": ("charts", "(minors > rounding).all(-1)", "(minors > rounding)[..., -1]", "charts"),
    "a dropped difference certified": ("charts", "found[l] = after >= before", "found[l] = True", "charts"),
    # Limits (Eqs. 5-7, 12, 15)
    "weights where a layer ends": ("limits", "layer_positions(net)[:-1]", "layer_positions(net)[1:]", "limits"),
    "the last factor rightmost": ("limits", "P @ A_n if reverse else A_n @ P", "A_n @ P if reverse else P @ A_n", "limits"),
    "the sign of the adjoint": ("limits", "-W(l).mT @ (slope * state[1])", "W(l).mT @ (slope * state[1])", "limits"),
    # Bundles (Defs 5.1, 5.2, Eqs. 14, 15)
    "frames acted on from the left": ("bundles", 'return e @ _invertible("h", h)', 'return _invertible("h", h) @ e', "bundles"),
    "h for its transpose": ("bundles", "half = torch.linalg.solve(h.mT, g)", "half = torch.linalg.solve(h, g)", "bundles"),
    "backpropagation without the slope": ("bundles", "dz = df * slopes[l]", "dz = df", "bundles"),
    # Curvature
    "a sign of Christoffel's": ("curvature", "- slope.permute(2, 0, 1)) / 2", "+ slope.permute(2, 0, 1)) / 2", "curvature"),
    "the second derivative not normal": ("curvature", "normal = H - torch.einsum", "normal = H - 0 * torch.einsum", "curvature"),
    # Curves (section 7)
    "roughness of first differences": ("curves", "second = first.diff(dim=-3)", "second = first", "curves"),
    "arms joined": ("curves", "[images[..., label == c, :] for c in label.unique().tolist()]", "[images]", "curves"),
    "crossings of chords": ("curves", "    if stages == 0:\n", "    if True:\n", "curves"),
    "complete linkage": ("curves", 'linkage(x, "single")', 'linkage(x, "complete")', "curves"),
    # Data and training
    "arms of one angle": ("data", "turns * t + arm / arms", "turns * t + arm", "data"),
    "an annulus uniform in r²": ("data", "area * (most - least)).sqrt()", "area**2 * (most - least)).sqrt()", "data"),
    "minibatches by position": (
        "training",
        "manual_seed(MINIBATCH_SEED_OFFSET + seed) for seed in seeds",
        "manual_seed(MINIBATCH_SEED_OFFSET + i) for i, _ in enumerate(seeds)",
        "training",
    ),
    "no decay": ("training", "learning_rate * (1 + math.cos(math.pi * update / updates)) / 2", "learning_rate", "training"),
    # Rules and statistics
    "a control that does not count": ("companion.rules", "if not weakest > 1e3 * tolerance:", "if False:", "rules"),
    "most by the value alone": (
        "companion.rules",
        "for name, (_, low, _) in shares.items() if low > level",
        "for name, (low, _, _) in shares.items() if low > level",
        "rules",
    ),
    "the first less the second": ("companion.statistics", "second[both] - first[both]", "first[both] - second[both]", "statistics"),
    "an effect without signs": ("companion.statistics", "(ranks * np.sign(moved)).sum()", "ranks.sum()", "statistics"),
    # Studies and shards
    "a value beside another place": ("companion.studies", "value=values.numpy().ravel()", 'value=values.numpy().ravel("F")', "studies"),
    "curves of the training points": (
        "companion.studies",
        "return self.condition.sample(4000, torch.float64)",
        "return self.condition.sample(None, torch.float64)",
        "studies",
    ),
    "every seed measured, diverged or not": (
        "companion.studies",
        "value.masked_fill(diverged.view",
        "value.masked_fill((diverged & False).view",
        "studies",
    ),
    "what made the inputs left out of a shard's name": (
        "companion.shards",
        "for f in (self.function, *self.made_by)",
        "for f in (self.function,)",
        "shards",
    ),
}


def source_file(root: Path, module: str) -> Path:
    """The file of a module of riemlib."""
    return root.joinpath("riemlib", *module.split(".")).with_suffix(".py")


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
            path = source_file(copy, module)
            source = path.read_text(encoding="utf-8")
            if source.count(old) != 1:
                raise RuntimeError(f"{name}: {old!r} stands {source.count(old)} times in {path.name}; once is needed")
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
