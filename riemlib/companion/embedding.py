"""Locally Linear Embedding (section 4): the spectrum that says which components are well defined, and whether charts are found.

The embedding is scikit-learn's. Its components are eigenvectors of M = (1 - W)^T (1 - W), where W writes each point by its neighbours.
Where eigenvalues coincide, only the space of their eigenvectors is defined, and which vectors come out is rounding. So everything here
depends on the space that all components span, and on nothing else.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import LocallyLinearEmbedding
from sklearn.neighbors import NearestNeighbors

from .statistics import rank_correlation

ZERO = 1e-13  #: an eigenvalue below it is rounding
REGULARISATION = 1e-3  #: of the weights, as a share of the trace: scikit-learn's


def neighbourhoods(x: np.ndarray, neighbours: int) -> np.ndarray:
    """The numbers of the nearest neighbours of each point, (n, neighbours)."""
    return NearestNeighbors(n_neighbors=neighbours).fit(x).kneighbors(return_distance=False)


def pieces(near: np.ndarray) -> np.ndarray:
    """Of a graph of neighbours, (n, neighbours), the number of the connected piece that each point lies in, (n,)."""
    rows = np.repeat(np.arange(len(near)), near.shape[1])
    graph = coo_array((np.ones(near.size), (rows, near.ravel())), shape=(len(near),) * 2)
    return connected_components(graph, directed=False)[1]


def spectrum(x: np.ndarray, near: np.ndarray, count: int = 6) -> np.ndarray:
    """The `count` least eigenvalues of M. The first belongs to the constant; one more is 0 for each further piece of the graph."""
    gram = np.einsum("nka,nla->nkl", *[x[near] - x[:, None]] * 2)
    trace = np.trace(gram, axis1=1, axis2=2)
    gram += (REGULARISATION * np.where(trace > 0, trace, 1))[:, None, None] * np.eye(near.shape[1])
    weights = np.linalg.solve(gram, np.ones((*near.shape, 1)))[..., 0]
    W = np.zeros((len(x), len(x)))
    np.put_along_axis(W, near, weights / weights.sum(1, keepdims=True), 1)
    off = np.eye(len(x)) - W
    return eigh(off.T @ off, eigvals_only=True, subset_by_index=(0, count - 1))


def is_defined(eigenvalues: np.ndarray, components: int = 3) -> bool:
    """Whether an embedding depends on the points, and not on rounding: which of several vectors with equal eigenvalues come out.

    At most two eigenvalues are 0, one of which the embedding leaves out, and those that it ends between differ. 0 is below 10⁻¹³: M has
    eigenvalues of the order of 1, and so rounding of about 10⁻¹⁶.
    """
    return bool(eigenvalues[2] > ZERO and eigenvalues[components + 1] - eigenvalues[components] > ZERO)


def embedded(x: np.ndarray, neighbours: int, components: int) -> np.ndarray:
    """scikit-learn's embedding, each component with unit variance. Points with fewer coordinates than components are padded with zeros."""
    padded = np.pad(x, ((0, 0), (0, max(0, components - x.shape[1]))))
    method = LocallyLinearEmbedding(n_neighbors=neighbours, n_components=components, eigen_solver="dense")
    return method.fit_transform(padded) * len(x) ** 0.5


@dataclass(frozen=True)
class Charts:
    """What an embedding finds of labelled arms."""

    accuracy: float  # of a linear classifier
    correlation: float  # rank correlation of the best linear coordinate on an arm with the position on it; of the arm where it is least

    @property
    def found(self) -> bool:
        """Whether a line separates the arms, and a coordinate runs along each of them."""
        return self.accuracy == 1 and self.correlation > 0.99


def charts(y: np.ndarray, label: np.ndarray, position: np.ndarray) -> Charts:
    """Whether an embedding y, (n, components), tells the arms apart, and orders the points of each.

    The coordinate on an arm is the linear function of y that fits the position best. Any rotation of y gives the same.
    """
    accuracy = LogisticRegression(C=1e6, max_iter=1000).fit(y, label).score(y, label)
    correlations = []
    for arm in np.unique(label):
        own, t = np.column_stack([np.ones(len(y)), y])[label == arm], position[label == arm]
        spread = np.ptp(own, axis=0) > 1e-6  # a component that is constant on the arm has only rounding to give
        spread[0] = True
        fit = own[:, spread] @ np.linalg.lstsq(own[:, spread], t, rcond=1e-6)[0]
        correlations.append(abs(rank_correlation(fit, t)))
    return Charts(float(accuracy), min(correlations))
