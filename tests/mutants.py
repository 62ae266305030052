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
    "W transposed at large widths": ("metric", "through.movedim(-1, 0) @ W)", "through.movedim(-1, 0) @ W.mT)", "metric"),
    "one chunk of twice the points": ("chunks", "item * (2 * kept +", "item * (kept // 9 +", "chunks"),
    "chunks that leave points out": ("chunks", "range(0, n, memory // size)", "range(0, n - 3, memory // size)", "chunks"),
    "one η for all chunks": ("chunks", "else each[part]", "else each[: part.stop - part.start]", "chunks"),
    "the least values for the largest": ("matrixfree", 'which="LA"', 'which="SA"', "matrixfree"),
    "ds² without η": ("matrixfree", "Jv if eta is None else eta @ Jv", "Jv", "matrixfree"),
    "values that are not squared": ("matrixfree", "values[:k].square()", "values[:k]", "matrixfree"),
    "η transposed at the root": ("matrixfree", "[:, None] * vectors.mT) @ J", "[:, None] * vectors) @ J", "matrixfree"),
    "the identity of a large layer lost": ("wide", ".addmm_(S.flatten(0, 1), W, beta=A)", ".addmm_(S.flatten(0, 1), W, beta=0)", "metric"),
    "Δl lost in the last large layer": ("wide", "[:, :, None], B * W, out=P)", "[:, :, None], W, out=P)", "metric"),
    "large W transposed": ("wide", "S.flatten(0, 1), W,", "S.flatten(0, 1), W.mT,", "metric"),
    "derivatives in place": ("wide", "plain and not slope.requires_grad", "plain", "metric"),
    "points left over": ("memory", "range(0, n, at_once)", "range(0, n - n % at_once, at_once)", "metric"),
    "a turn the other way": ("ellipsoids", "2 * (a * b).sum(-1)", "-2 * (a * b).sum(-1)", "ellipsoids"),
    "two equal axes out of order": ("ellipsoids", "[values[0], values.amax(0)]", "[*values]", "ellipsoids"),
    "the identity of Eq. 11 lost": ("metric", "through if blocks[0] is None else through.add_(blocks[0])", "through", "metric"),
    "the slope lost": ("metric", "combine(B, entries) * slope", "combine(B, entries)", "metric"),
    "the slope of the layer before": ("metric", "slopes[l], net.stencils[l])", "slopes[l - 1], net.stencils[l])", "metric"),
    "a length for differences at the output": ("metric", "output.new_zeros(", "output.new_ones(", "metric"),
    "one row of P lost": ("memory", "for row in P[1:]:", "for row in P[2:]:", "metric"),
    "P Pᵀ for Pᵀ P": ("memory", "        return P.mT @ P\n", "        return P @ P.mT\n", "metric"),
    "the root of η transposed": ("metric", ".sqrt()[..., None] * vectors.mT", ".sqrt()[..., None] * vectors", "metric"),
    "balls without η": ("metric", "[balls_of(root @ P, radius) for P in self.P]", "[balls_of(P, radius) for P in self.P]", "metric"),
    "g without η": ("metric", "P.mT @ eta[part] @ P", "P.mT @ P", "metric"),
    "η of the input": ("metric", "checks.output_metric(output_metric, x[-1])", "checks.output_metric(output_metric, x[0])", "metric"),
    "no gradient to the weights": (
        "metric",
        "W = net.weights[l] if differentiable else net.weights[l].detach()",
        "W = net.weights[l].detach()",
        "metric",
    ),
    "gradients to the weights unasked": (
        "metric",
        "W = net.weights[l] if differentiable else net.weights[l].detach()",
        "W = net.weights[l]",
        "metric",
    ),
    # Balls (Eq. 13)
    "√λ for 1/√λ": ("ellipsoids", "masked_fill(small, 0).rsqrt()", "masked_fill(small, 0).sqrt()", "ellipsoids"),
    "hidden eigenvalues pass": ("ellipsoids", "        if hidden.any():", "        if False:", "ellipsoids"),
    "a lucky zero is none of g's": (
        "ellipsoids",
        "lu_factor_ex(g.detach()[thin].double())",
        "lu_factor_ex(g.detach()[thin])",
        "ellipsoids",
    ),
    "one zero for all": ("ellipsoids", "small[thin].sum(-1) > (pivots == 0).sum(-1)", "(pivots != 0).all(-1)", "ellipsoids"),
    "a ratio that is not squared": ("ellipsoids", "self.axes[..., -1]).square()", "self.axes[..., -1])", "ellipsoids"),
    "the radius in the volume": ("ellipsoids", "(self.axes / self.radius).log()", "self.axes.log()", "ellipsoids"),
    "σ² for σ": ("ellipsoids", "radius / values.masked_fill(zero, 0)", "radius / values.masked_fill(zero, 0).square()", "ellipsoids"),
    "directions in rows": ("ellipsoids", "V.mT.flip(-1)", "V.flip(-1)", "ellipsoids"),
    "the directions that P loses are finite": (
        "ellipsoids",
        "P.shape[-1] - values.shape[-1]))",
        "P.shape[-1] - values.shape[-1]), value=1.0)",
        "ellipsoids",
    ),
    "the volume of the ball": ("ellipsoids", "return -(self.axes", "return (self.axes", "ellipsoids"),
    # Any map (Defs 4.2, 4.3)
    "couplings pass": ("maps", "    if by_batch[0]:\n", "    if False:\n", "maps"),
    "couplings at even distances pass": ("maps", "min(3, (n - 1).bit_length())", "min(1, (n - 1).bit_length())", "maps"),
    "couplings pass at a single point": ("maps", "    if len(x) == 1:", "    if False:", "maps"),
    "training mode passes": ("maps", "if module.training and isinstance(module, TRAINING):", "if False:", "maps"),
    "gradients of a map unasked": (
        "maps",
        'set_grad_enabled(differentiable or checks.batch("x", x).requires_grad)',
        "set_grad_enabled(True)",
        "maps",
    ),
    "a map without η": ("maps", "J.mT @ checks.output_metric(output_metric, y) @ J", "J.mT @ J", "maps"),
    # Activations
    "a probe that is small and even": (
        "activations",
        "[[-5.0, 1.7, 0.3], [4.9, -0.6, -2.2]]",
        "[[-0.5, 0.5, 0.0], [0.5, -0.5, 0.0]]",
        "activations",
    ),
    "parameters of an activation pass": ("activations", "any(True for _ in activation.parameters())", "False", "activations"),
    "a softplus of any steepness": ("activations", "(activation.beta, activation.threshold) == (1, 20)", "True", "activations"),
    # Charts (section 2)
    "the determinant for all minors": ("charts", "(minors > rounding).all(-1)", "(minors > rounding)[..., -1]", "charts"),
    "eigenvalues for the symmetric part": ("charts", "eigvalsh(M + M.mT)", "eigvals(M).real.sort(-1).values", "charts"),
    "half of a matrix for all of it": ("charts", "eigvalsh(M + M.mT)", "eigvalsh(M)", "charts"),
    "the antisymmetric part": ("charts", "eigvalsh(M + M.mT)", "eigvalsh(M.mT @ M)", "charts"),
    "slopes of 1 for all": ("charts", "slopes_of(net.activation).largest * W", "1.0 * W", "charts"),
    "a dropped difference certified": ("charts", "found[l] = after >= before", "found[l] = True", "charts"),
    # Limits (Eqs. 5-7, 12, 15)
    "weights where a layer ends": ("limits", "layer_positions(net)[:-1]", "layer_positions(net)[1:]", "limits"),
    "the momentum scaled the other way": ("limits", "*(h / before for before", "*(before / h for before", "limits"),
    "a path of layers end to end": ("limits", "coarse.repeat_interleave(2, -2)", "torch.cat([coarse, coarse], -2)", "limits"),
    "the readout trained": ("companion.deep", "part.moments[:, 1, -fixed:] = STILL", "pass", "deep"),
    "the last factor rightmost": ("limits", "P @ A_n if reverse else A_n @ P", "A_n @ P if reverse else P @ A_n", "limits"),
    "the sign of the adjoint": ("limits", "-W(l).mT @ (slope * state[1])", "W(l).mT @ (slope * state[1])", "limits"),
    # Bundles (Defs 5.1, 5.2, Eqs. 14, 15)
    "frames acted on from the left": ("bundles", 'return e @ _invertible("h", h)', 'return _invertible("h", h) @ e', "bundles"),
    "h for its transpose": ("bundles", "half = torch.linalg.solve(h.mT, g)", "half = torch.linalg.solve(h, g)", "bundles"),
    "one metric as vectors": ("bundles", 'h, g = torch.broadcast_tensors(_invertible("h", h), g)', 'h = _invertible("h", h)', "bundles"),
    "backpropagation without the slope": ("bundles", "dz = df * slopes[l]", "dz = df", "bundles"),
    # Curvature
    "a sign of Christoffel's": ("curvature", "- slope.permute(2, 0, 1)) / 2", "+ slope.permute(2, 0, 1)) / 2", "curvature"),
    "a sign of Riemann's": ("curvature", "first = half + torch.einsum", "first = half - torch.einsum", "curvature"),
    "derivatives of Riemann's swapped": (
        "curvature",
        "(H.permute(0, 2, 3, 1) + H.permute(2, 0, 1, 3)) / 2",
        "(H + H.permute(2, 0, 1, 3)) / 2",
        "curvature",
    ),
    "asymmetric metrics pass": ("curvature", '    checks.metric("metric", g.detach())\n', "", "checks"),
    "the second derivative not normal": ("curvature", "normal = H - torch.einsum", "normal = H - 0 * torch.einsum", "curvature"),
    # Curves (section 7)
    "roughness of first differences": ("curves", "second = first.diff(dim=-3)", "second = first", "curves"),
    "arms joined": ("curves", "[images[..., label == c, :] for c in label.unique().tolist()]", "[images]", "curves"),
    "crossings of chords": ("curves", "    if stages == 0:\n", "    if True:\n", "curves"),
    "chord over length as an arithmetic mean": ("curves", ".log().mean(0).exp()", ".mean(0)", "curves"),
    "the second axis": ("curves", "variances[..., -1] /", "variances[..., 0] /", "curves"),
    "crossings counted twice": ("curves", "> 1e-5 * (a.length + b.length)", ">= 0", "curves"),
    "complete linkage": ("curves", 'linkage(x, "single")', 'linkage(x, "complete")', "curves"),
    # Data and training
    "arms of one angle": ("data", "turns * t + arm / arms", "turns * t + arm", "data"),
    "an annulus uniform in r²": ("data", "area * (most - least)).sqrt()", "area**2 * (most - least)).sqrt()", "data"),
    "positions unsorted": ("data", "generator=generator).sort().values", "generator=generator)", "data"),
    "names of classes as they come": (
        "data",
        "return tuple(classes.tolist()), numbers",
        "return tuple(classes.tolist()), numbers[::-1].copy()",
        "training",
    ),
    "seeds modulo 2³²": ("checks", 'integer("seed", value, 0) >= MOST_SEED', 'integer("seed", value, 0) >= 9 * MOST_SEED', "checks"),
    "asymmetry passes": ("checks", "((g - g.mT).abs() <= rounding).all()", "((g - g.mT).abs() <= 1e9).all()", "checks"),
    "negative eigenvalues pass": ("checks", "(values >= -rounding).all()", "(values >= -9.0).all()", "checks"),
    "the late loss of all": ("training", "-max(1, self.loss.shape[1] // 10)", "-max(0, self.loss.shape[1] // 10)", "training"),
    "the upper median": ("training", "(len(runs) - 1) // 2", "len(runs) // 2", "training"),
    "a divergence in the last update passes": (
        "training",
        "loss.isfinite().all(1) & ensemble.flat.isfinite().all(1)",
        "loss.isfinite().all(1)",
        "training",
    ),
    "a cosine to zero": ("engines", "math.pi * update / updates", "math.pi * update / max(1, updates - 1)", "training"),
    "minibatches by position": (
        "engines",
        "manual_seed(MINIBATCH_SEED_OFFSET + seed) for seed in seeds",
        "manual_seed(MINIBATCH_SEED_OFFSET + i) for i, _ in enumerate(seeds)",
        "training",
    ),
    "no decay": ("engines", "(1 + math.cos(math.pi * update / updates)) / 2", "1.0", "training"),
    # The compiled loop
    "the sign of the loss's derivative": ("_fused", "= -M[U(BLOCK) + i] * M[i] if", "= M[U(BLOCK) + i] * M[i] if", "engines"),
    "the slope dropped on the way back": ("_fused", "Z[i] = b * C[u + i] * T[slope + i]", "Z[i] = b * C[u + i]", "engines"),
    "the slope of a difference dropped": ("_fused", "Z[i] += b * C[source + i] * T[slope + i]", "Z[i] += b * C[source + i]", "engines"),
    "W for its transpose": (
        "_fused",
        "spread(W, w + r * line + c, U(1), some)",
        "spread(W, w + c * line + r, line, some)",
        "engines",
    ),
    "W for its transpose at width 2": (
        "_fused",
        "first += W[w + r * line] * Z[r * U(BLOCK) + i]\n                second += W[w + r * line + U(1)]",
        "first += W[w + r] * Z[r * U(BLOCK) + i]\n                second += W[w + line + r]",
        "engines",
    ),
    "the remainder of a block left out": (
        "_fused",
        "for first in range(0, B, BLOCK):",
        "for first in range(0, B - B % BLOCK, BLOCK):",
        "engines",
    ),
    "the same minibatch twice": ("_fused", "            used[s] += batch\n", "            used[s] += batch * (update % 2)\n", "engines"),
    "a permutation kept for the next epoch": ("_fused", "                permute(generators[s], orders[s])\n", "", "engines"),
    "differences forgotten": ("_fused", "T[to + i] += a * T[source + i]", "T[to + i] += 0 * T[source + i]", "engines"),
    "a covector on a difference forgotten": ("_fused", "C[to + i] += a * C[source + i]", "C[to + i] += 0 * C[source + i]", "engines"),
    "Adam without its first correction": ("_fused", "real(rate / (1 - 0.9**number))", "real(rate)", "engines"),
    "momentum dropped": ("_fused", "velocity[p] = velocity[p] * real(momentum) + gradient[p]", "velocity[p] = gradient[p]", "engines"),
    "shared weights keep the last layer's gradient": (
        "_fused",
        "gradient[where[q]] += sum_of(G, q * LANES)",
        "gradient[where[q]] = sum_of(G, q * LANES)",
        "engines",
    ),
    "g of the wrong layer": ("_fused", "gram(C, g, l, at, width)\n\n", "gram(C, g, L - l, at, width)\n\n", "engines"),
    "no mirror image of g": ("_fused", "                if a != c:\n", "                if False:\n", "engines"),
    "a row of P left out": ("_fused", "for k in range(U(1), U(len(width))):", "for k in range(U(2), U(len(width))):", "engines"),
    "the last points left out": (
        "_fused",
        "at = min(block, stop - BLOCK)",
        "at = block - block % 1 if block + BLOCK <= stop else start",
        "engines",
    ),
    # What figures draw
    "a hyperplane on the other side": ("plot", "foot = -offset * normal", "foot = offset * normal", "figures"),
    "a hyperplane along its normal": ("plot", "np.array([-normal[1], normal[0]])", "np.array([normal[0], normal[1]])", "figures"),
    "infinite curves drawn": ("plot", "for curve in curves if np.isfinite(curve).all()]", "for curve in curves]", "figures"),
    "balls by √λ": ("ellipsoids", "radius / values.masked_fill(zero, 0)", "radius * values.masked_fill(zero, 0)", "figures"),
    "rows of a frame drawn": ("companion.figures.section5", "e[None].mT.flatten(0, 1)", "e[None].flatten(0, 1)", "figures"),
    "rows of frames drawn": ("companion.figures.section5", "* e).mT.flatten(0, 1)", "* e).flatten(0, 1)", "figures"),
    "a class drawn in other components": (
        "companion.figures.section5",
        "_ellipse(act_on_metric(e, components))",
        "_ellipse(act_on_metric(e, components, inverse=True))",
        "figures",
    ),
    "arrows up the error": ("companion.figures.section5", "x[at], -length * each", "x[at], length * each", "figures"),
    "vectors of another layer": ("companion.figures.section1", "as_array(vectors[l]).T", "as_array(vectors[0]).T", "figures"),
    "colours of the cut reversed": (
        "companion.figures.section4",
        'as_array(cut), LIGHT_GREY, "k"',
        'as_array(cut), "k", LIGHT_GREY',
        "figures",
    ),
    "a chord where a path is near": ("companion.pairs", "(paths <= chords.quantile(0.25))", "(chords <= chords.quantile(0.25))", "pairs"),
    "an edge as the straight line": ("companion.pairs", ".norm(dim=2).sum(0)", ".sum(0).norm(dim=1)", "pairs"),
    "bending along u": ("curvature", "v = torch.linalg.solve(jacfwd(single)(p), u.mT)", "v = u.mT", "curvature"),
    "a chart of one arm is enough": ("companion.embedding", "min(correlations)", "max(correlations)", "embedding"),
    # Rules and statistics
    "an order outside its interval at the end": (
        "companion.rules",
        "if not low <= theory <= high]",
        "if not low < theory < high]",
        "rules",
    ),
    "a control at the end of its interval": (
        "companion.rules",
        "controls.items() if low <= theory <= high]",
        "controls.items() if low < theory < high]",
        "rules",
    ),
    "a neighbour at the end of an interval": ("companion.rules", "low <= theory - 1 or high", "low < theory - 1 or high", "rules"),
    "a tolerance that is not met": ("companion.rules", "if worst <= tolerance:", "if worst < tolerance:", "rules"),
    "a control that does not count": ("companion.rules", "if not weakest > 1e3 * tolerance:", "if False:", "rules"),
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
