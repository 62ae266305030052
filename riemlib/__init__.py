"""riemlib: Riemannian geometry of neural networks, after Hauser and Ray (NIPS 2017), one call an equation."""

from .bundles import act_on_frame, act_on_metric, backpropagate
from .charts import certificates, is_chart, is_p_matrix
from .curvature import christoffel, riemann
from .manifolds import Sample, annulus, polar, spiral
from .metric import Balls, balls, jacobians, pullback_metric, pullback_metrics, pushforward, squared_length
from .networks import CkNetwork
from .studies import Condition, Runs, study
from .training import Fit, fit
