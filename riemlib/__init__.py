r"""Riemannian geometry of neural networks, after Hauser and Ray (NIPS 2017): each equation of the paper is one call.

`riemlib/` is the mathematics: networks, training, metric, ellipsoids, maps, matrixfree, charts, limits, bundles, curvature, curves, data,
chunks. It uses nothing of the companion. `riemlib/companion/` is the work on the paper: claims, verdicts, studies over many seeds,
figures, the run of the notebooks. `import riemlib as rl` is quick: a module or a name (`rl.charts`, `rl.CkNetwork`) loads when it is
first used. For more points than memory holds there is `chunks.geometry_in_chunks` (Eqs. 10, 12), for inputs of thousands of numbers
`matrixfree.leading_directions` (Eqs. 10, 13).

Where to find what: the function `metric.jacobians` is in `riemlib/metric.py`, and its docstring gives shapes and errors. The notebook
named beside it calls it.

| Eq. | what it says | function | notebook |
|---|---|---|---|
| softmax | the readout: P(Y = j) is the softmax of W x + b at the last layer | networks.CkNetwork | 02_notation |
| Eq. 1 | a plain layer (order 0): x becomes f(x) | networks.stencil | 03_ck_networks |
| Eq. 2 | a residual layer (order 1): x becomes x + f(x) Δl | networks.stencil | 03_ck_networks |
| Eq. 3 | the first difference of x is f(x) Δl | limits.discretise | 03_ck_networks |
| Eq. 4 | the second difference of x is f(x) Δl² (order 2) | limits.discretise | 03_ck_networks |
| Eq. 5 | many layers of order 1: dx/dl = f(x; l) | limits.solve | 03_ck_networks |
| Eq. 6 | many layers of order 2: d²x/dl² = f(x; l) | limits.solve | 03_ck_networks |
| Eq. 7 | the layers are a partition of [0, 1] | limits.partition | 03_ck_networks |
| Eq. 8 | the metric at the output, Euclidean unless given | metric.geometry | 04_1_metric |
| Eq. 9 | the metric of a layer from that of the next | metric.pullback_metrics | 04_1_metric |
| Eq. 10 | the metric of every layer from the output's: P^T η P | metric.pullback_metrics | 04_1_metric |
| Eq. 11 | the Jacobian of a layer | metric.jacobians | 04_1_metric |
| Eq. 12 | the pushforward P: the product of the Jacobians, last layer leftmost | metric.pushforward | 04_1_metric |
| limit of Eq. 12 | the product as the layers become infinitely many | limits.path_ordered_exponential | 08_appendix |
| Eq. 13 | the line element ds², the same at every layer | ellipsoids.squared_length | 04_1_metric |
| Eq. 14 | the metric pulled back by left actions | bundles.act_on_metric | 05_lie_groups |
| Eq. 15 | error backpropagation by right actions | bundles.backpropagate | 06_backpropagation |
| limit of Eq. 15 | the product as the layers become infinitely many | limits.adjoint | 06_backpropagation |
| Def. 4.2 | the pushforward of a vector | metric.pushforward | 04_1_metric |
| Def. 4.3 | the pullback metric, of any map by automatic differentiation | maps.pullback_metric | 04_1_metric |
| Def. 5.1 | GL(d) acts on frames from the right | bundles.act_on_frame | 05_lie_groups |
| Def. 5.2 | GL(d) acts on metrics from the left | bundles.act_on_metric | 05_lie_groups |
| §2 | the certificate of a chart: is a layer injective? | charts.certificates | 02_notation |
| §4 | curvature of a metric (Riemann tensor) | curvature.riemann | 04_3_curvature |
| §7.1 | roughness: how sharply points change direction from layer to layer | curves.roughness | 07_1_smoothness |
| §7.3 | gaps between neighbours on a curve, refined | curves.refined_gaps | 07_3_batch_size |
| §7.3 | connected components at every layer | curves.components | 07_3_batch_size |
| Figure 1 | the chain of coordinate systems | companion.figures.section1.chain | 01_introduction |
| Figure 2 | networks untangle the spiral | companion.figures.section7.untangling | 07_1_smoothness |
| Figure 3 | balls of the learned metric | companion.figures.section7.metric_balls | 07_2_metric_balls |
| Figure 4 | batch 300 against batch 1000 | companion.figures.studies.torn_layers | 07_3_batch_size |
| studies | networks trained under many conditions from many seeds, and measured | companion.studies.study | 07_1_smoothness |
| verdicts | the rules that compute them from evidence; this one is for an equation | companion.rules.identity | 04_1_metric |
| claims | a claim of companion/claims.toml gets its verdict | companion.notebook.decide | 04_1_metric |
"""

from importlib import import_module

#: module -> its public names, which `riemlib.NAME` loads when it is first used
EXPORTS = {
    "bundles": ("act_on_frame", "act_on_metric", "backpropagate"),
    "charts": ("certificates", "is_chart", "is_p_matrix"),
    "chunks": ("geometry_in_chunks",),
    "companion.studies": ("Condition", "StudyResult", "study"),
    "curvature": ("christoffel", "riemann"),
    "data": ("Sample", "annulus", "polar", "spiral"),
    "ellipsoids": ("Balls", "balls", "balls_of", "condition_number", "log_volume", "squared_length"),
    "maps": ("pullback_metric", "pushforward_of"),
    "matrixfree": ("LeadingDirections", "leading_directions"),
    "metric": ("Geometry", "geometry", "jacobians", "pullback_metrics", "pushforward"),
    "networks": ("CkNetwork",),
    "training": ("Fit", "fit"),
}
_MODULE_OF = {name: module for module, names in EXPORTS.items() for name in names}
__all__ = [*_MODULE_OF]


def __getattr__(name: str):
    if name not in _MODULE_OF:
        try:
            return import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as missing:
            if missing.name != f"{__name__}.{name}":
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
