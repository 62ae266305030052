"""Locally Linear Embedding: the spectrum against scikit-learn's error, and charts that depend only on the space of the components."""

import numpy as np
import pytest
import torch
from sklearn.manifold import locally_linear_embedding

import riemlib as rl
from riemlib.companion import embedding

SAMPLE = rl.spiral(320, dtype=torch.float64)
X, LABEL, POSITION = (each.numpy() for each in (SAMPLE.x, SAMPLE.label, SAMPLE.position))


@pytest.mark.parametrize("neighbours", [4, 6, 12])
def test_the_eigenvalues_are_those_that_the_library_leaves(neighbours):
    """Its error is the sum of the eigenvalues of the components, the constant one left out."""
    padded = np.pad(X, ((0, 0), (0, 3)))
    found = embedding.spectrum(X, embedding.neighbourhoods(X, neighbours), 6)
    for components in (1, 3, 5):
        _, error = locally_linear_embedding(padded, n_neighbors=neighbours, n_components=components, eigen_solver="dense")
        assert found[1 : 1 + components].sum() == pytest.approx(error, rel=1e-6, abs=1e-12)
    assert abs(found[0]) < 1e-12


def test_each_piece_of_the_graph_gives_an_eigenvalue_of_zero():
    near = embedding.neighbourhoods(X, 6)
    piece = embedding.pieces(near)
    assert len(set(zip(piece.tolist(), LABEL.tolist(), strict=True))) == 2 and piece.max() == 1
    values = embedding.spectrum(X, near)
    assert values[1] < 1e-12 < 1e-9 < values[2]
    wide = embedding.neighbourhoods(X, 120)
    assert embedding.pieces(wide).max() == 0 and embedding.spectrum(X, wide)[1] > 1e-9
    lonely = np.concatenate([X, X[:9] / 100 + 50])
    assert embedding.pieces(embedding.neighbourhoods(lonely, 6)).max() == 2


def test_an_embedding_is_defined_where_it_ends_in_a_gap_and_two_eigenvalues_are_zero():
    assert embedding.is_defined(np.array([0, 1e-17, 1e-9, 1.1e-9, 1e-6, 1e-5]))
    assert not embedding.is_defined(np.array([0, 1e-17, 3e-16, 1e-9, 1e-6, 1e-5]))  # three pieces
    assert not embedding.is_defined(np.array([0, 1e-17, 1e-9, 1e-6, 1e-6 + 1e-15, 1e-5]))  # inside a pair
    assert embedding.is_defined(embedding.spectrum(X, embedding.neighbourhoods(X, 6)))
    three = np.concatenate([X, X[:160] / 9 + 50])
    assert not embedding.is_defined(embedding.spectrum(three, embedding.neighbourhoods(three, 6)))


def test_neighbourhoods_are_the_nearest_points_without_the_point_itself():
    near = embedding.neighbourhoods(X, 3)
    distance = np.linalg.norm(X[:, None] - X[None], axis=2)
    assert (np.sort(near) == np.sort(np.argsort(distance)[:, 1:4])).all()


def test_three_components_find_the_charts_and_the_plane_does_not_have_them():
    found = embedding.charts(embedding.embedded(X, 6, 3), LABEL, POSITION)
    assert found.found and found.accuracy == 1 and found.correlation > 0.99
    plane = embedding.charts(X, LABEL, POSITION)
    assert not plane.found and plane.accuracy < 0.8
    wide = embedding.charts(embedding.embedded(X, 120, 3), LABEL, POSITION)
    assert not wide.found
    assert not embedding.charts(embedding.embedded(X, 6, 3)[:, :1], LABEL, POSITION).found


def test_only_the_space_of_the_components_counts():
    y, rng = embedding.embedded(X, 6, 3), np.random.default_rng(0)
    first = embedding.charts(y, LABEL, POSITION)
    for _ in range(5):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        again = embedding.charts(y @ rotation, LABEL, POSITION)
        assert again.accuracy == first.accuracy and again.correlation == pytest.approx(first.correlation, abs=1e-3)


def test_a_chart_has_to_run_along_both_arms_and_to_tell_them_apart():
    arms = LABEL + 0.0
    good = np.stack([arms, POSITION], 1)
    assert embedding.charts(good, LABEL, POSITION).found
    assert not embedding.charts(np.stack([arms, POSITION * LABEL], 1), LABEL, POSITION).found  # along one arm only
    assert not embedding.charts(np.stack([0 * arms, POSITION], 1), LABEL, POSITION).found  # not apart
    assert not embedding.charts(np.stack([arms, (POSITION - 0.5) ** 2], 1), LABEL, POSITION).found  # to and fro


def test_components_are_padded_and_of_unit_variance():
    y = embedding.embedded(X, 6, 3)
    assert y.shape == (320, 3)
    assert np.allclose(y.T @ y / len(y), np.eye(3), atol=1e-8)
