"""riemlib: Riemannian geometry of neural networks, after Hauser and Ray (NIPS 2017), one call an equation."""

from importlib import import_module

#: module -> its public names, which `riemlib.NAME` loads when it is first used
EXPORTS = {
    "bundles": ("act_on_frame", "act_on_metric", "backpropagate"),
    "charts": ("certificates", "is_chart", "is_p_matrix"),
    "companion.studies": ("Condition", "StudyResult", "study"),
    "curvature": ("christoffel", "riemann"),
    "data": ("Sample", "annulus", "polar", "spiral"),
    "ellipsoids": ("Balls", "balls", "balls_of", "condition_number", "log_volume", "squared_length"),
    "maps": ("pullback_metric", "pushforward_of"),
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
