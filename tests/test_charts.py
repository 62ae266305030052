"""Which layers are charts: principal minors, the certificate of every order, preimages counted piece by piece and found by Newton."""

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from riemlib import CkNetwork, charts, jacobians

F64 = {"dtype": torch.float64}


def gaussian(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, **F64, generator=torch.Generator().manual_seed(seed))


def one_layer(W, b, **settings):
    """The network of one layer with these weights."""
    return CkNetwork.from_weights([W], [b], **settings)


def determinant(M):
    """Leibniz's sum over permutations: shares no code with a factorisation."""
    total = 0.0
    for p in permutations(range(len(M))):
        inversions = sum(p[i] > p[j] for i in range(len(p)) for j in range(i + 1, len(p)))
        total += (-1) ** inversions * math.prod(float(M[i, p[i]]) for i in range(len(p)))
    return total


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_principal_minors_are_the_determinants_of_the_diagonal_blocks(dim):
    M = gaussian(2, 3, dim, dim)
    minors = charts.principal_minors(M)
    assert minors.shape == (2, 3, 2**dim - 1)
    for number in range(1, 2**dim):
        rows = [i for i in range(dim) if number >> i & 1]
        assert float(minors[1, 2, number - 1]) == pytest.approx(determinant(M[1, 2][rows][:, rows]), rel=1e-10)


@pytest.mark.parametrize(
    ("M", "expected"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], True),
        ([[1.0, -3.0], [2.0, 0.1]], True),
        ([[-1.0, -2.0], [2.0, -1.0]], False),  # positive determinant, negative diagonal
        ([[1.0, 2.0], [2.0, 1.0]], False),  # positive diagonal, negative determinant
        ([[1.0, 1.0], [1.0, 1.0]], False),  # a minor of zero
        ([[0.1, 0.3], [0.1, 0.3]], False),  # zero, but for rounding
    ],
)
def test_a_p_matrix_has_positive_minors(M, expected):
    assert bool(charts.is_p_matrix(torch.tensor(M, **F64))) is expected


def test_a_minor_that_is_zero_to_rounding_is_not_positive():
    """Singular by construction; rounding leaves some determinants a little above zero, which must certify nothing."""
    x = gaussian(200, 3).abs()
    M = x[:, :, None] * x[:, None, :]
    assert bool((torch.linalg.det(M) > 0).any())
    assert not charts.is_p_matrix(M).any()


def test_p_matrix_ignores_the_scale():
    M = torch.tensor([[1.0, -3.0], [2.0, 0.1]], **F64)
    assert charts.is_p_matrix(torch.stack([1e-30 * M, 1e30 * M])).all()


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "softplus"])
@pytest.mark.parametrize("step", [1.0, 0.3])
def test_certificate_switches_where_a_layer_of_width_one_stops_increasing(activation, step):
    """1 + h s w > 0: just above that weight the layer is certified and increases, just below it does neither."""
    largest = {"tanh": 1.0, "relu": 1.0, "sigmoid": 0.25, "softplus": 1.0}[activation]
    z = torch.linspace(-30, 30, 6001, **F64)[:, None]
    for factor, certain in ((0.99, True), (1.01, False)):
        W = torch.full((1, 1), -factor / (largest * step), **F64)
        layer = one_layer(W, torch.zeros(1, **F64), step=step, activation=activation)
        x = (z / W).sort(0).values
        increases = bool((layer.coordinates(x)[1].diff(dim=0) > 0).all())
        assert charts.certificates(layer) == [certain] and increases is certain


@pytest.mark.parametrize(
    ("order", "activation", "expected"),
    [
        (0, "tanh", [True, True, True]),
        (0, "relu", [False, False, False]),
        (0, "softplus", [True, True, True]),
        (1, "tanh", [False, True, True]),
        (2, "tanh", [True, True, True]),  # the first layer folds x, but (x', D_1') gives x back
        ([1, 2, 3], "tanh", [False, True, True]),
        ([1, 2, 1], "tanh", [False, True, False]),  # D_1 is forgotten
        ([1, 2, 0], "tanh", [False, True, False]),
        ([1, 2, 2], "relu", [False, True, True]),
    ],
)
def test_the_certificate_depends_on_the_orders(order, activation, expected):
    net = CkNetwork([2] * 4, order=order, activation=activation, seed=0, **F64)
    with torch.no_grad():
        net.weights[0].copy_(torch.tensor([[-3.0, 0.2], [0.1, 0.4]]))  # folds where it is of order 1
        for W in net.weights[1:]:
            W.copy_(torch.tensor([[0.5, -0.2], [0.3, 0.1]]))
    assert charts.certificates(net) == expected
    assert charts.is_chart(net) is all(expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.lists(st.integers(1, 4), min_size=1, max_size=4), step=st.sampled_from([1.0, 0.2]))
def test_a_certified_layer_can_be_inverted_whatever_the_activation(seed, order, step):
    """Orders of 2 and more, and layers that add an entry: the explicit inverse returns the state, though this f is not monotone."""
    net = CkNetwork([3] * (len(order) + 1), order=order, step=step, activation=torch.sin, seed=seed, **F64)
    states = net.states(gaussian(20, 3, seed=seed))
    for l, k in enumerate(order):
        before, after = net.entries[l], net.entries[l + 1]
        if after < before or (before == after == 1):
            continue
        D = [*states[l + 1].split(3, dim=1)]
        m = min(k, before)
        found = [D[i] - step * D[i + 1] for i in range(m - 1)]  # x' - h D_1' = x, and so on
        if after > before and m == 1:
            found = [D[0] - step * D[1]]
        else:
            f = torch.sin(found[0] @ net.weights[l].detach().mT + net.biases[l].detach())
            found.append(D[m - 1] - step * f)
        assert torch.allclose(torch.cat(found, 1), states[l], atol=1e-10)


def test_the_rank_decides_order_zero():
    W = gaussian(3, 2)
    b = torch.zeros(3, **F64)
    assert charts.is_chart(one_layer(W, b, order=0))
    assert not charts.is_chart(one_layer(W[:, :1] @ W[:1, :], b, order=0))  # rank 1
    assert not charts.is_chart(one_layer(W.mT.contiguous(), b[:2], order=0))  # narrowing


def test_certificates_of_wide_layers_are_sound():
    """Above the width of the minors: a small residual is certified, a reflected one is not, and width does not matter at order 2."""
    W = gaussian(40, 40, scale=40**-0.5)
    b = torch.zeros(40, **F64)
    assert charts.is_chart(one_layer(W, b, step=0.2))
    one_direction = torch.cat([torch.tensor([-3.0], **F64), torch.zeros(39, **F64)]).diag()
    assert not charts.is_chart(one_layer(one_direction, b))
    assert charts.is_chart(CkNetwork([40] * 3, order=2, seed=0))


def embedded(block, dim=13):
    """I + W of this width with the block at its corner, and the layer x + relu(Wx) of order 1 that has it."""
    M = torch.eye(dim, **F64)
    M[: len(block), : len(block)] = torch.tensor(block, **F64)
    return M, one_layer(M - torch.eye(dim, **F64), torch.zeros(dim, **F64), activation="relu")


@pytest.mark.parametrize(
    "block",
    [
        [[-0.5, 2.0], [-2.0, 3.0]],  # eigenvalues with positive real parts, determinant positive, a minor of -1/2
        [[1.0, 4.0], [0.5, 1.0]],  # the lower half alone is positive definite, the determinant is -1
        [[1.0, 0.5], [4.0, 1.0]],  # the upper half alone
        [[1.0, 0.0, 3.0], [3.0, 1.0, 0.0], [0.0, 3.0, -0.2]],
    ],
)
def test_a_wide_layer_that_folds_is_not_certified(block):
    """The certificate is a proof: each of these layers takes two points to one image, found on its linear pieces."""
    M, layer = embedded(block)
    assert charts.certificates(layer) == [False]
    assert not charts.is_p_matrix(M[: len(block), : len(block)])
    S = len(block)
    W = M[:S, :S] - torch.eye(S, **F64)
    b = torch.zeros(S, **F64)
    y = charts.points_on_pieces(W, b)
    solutions, found = charts.relu_preimages(W, b, y + torch.relu(y @ W.mT))
    several = found.sum(-1).argmax()
    assert int(found.sum(-1).max()) >= 2
    two = torch.cat([solutions[several][found[several]][:2], torch.zeros(2, 13 - S, **F64)], 1)
    images = layer.coordinates(two)[1]
    assert (two[0] - two[1]).norm() > 1e-3 and (images[0] - images[1]).norm() < 1e-9


@pytest.mark.parametrize("c", [2.5, 4.0, 100.0])
def test_positive_eigenvalues_alone_certify_no_wide_layer(c):
    """I and a triangle of c: all eigenvalues 1, the symmetric part indefinite. Injective, but the sufficient condition cannot tell."""
    M = torch.eye(13, **F64) + c * torch.ones(13, 13, **F64).triu(1)
    assert torch.linalg.eigvals(M).real.min() > 0 and torch.linalg.eigvalsh(M + M.mT)[0] < 0
    for W in (M - torch.eye(13, **F64), (M - torch.eye(13, **F64)).mT.contiguous()):
        assert charts.certificates(one_layer(W, torch.zeros(13, **F64))) == [False]


@given(st.integers(13, 20), st.floats(0.1, 100.0), st.floats(0.05, 3.0), st.integers(0, 10**6))
def test_the_wide_certificate_sees_the_symmetric_part_alone(dim, skew, size, seed):
    """Whatever is antisymmetric, v^T M v is that of the symmetric part: certified just where Cholesky's factor of it exists."""
    A = gaussian(dim, dim, seed=seed, scale=skew)
    S = gaussian(dim, dim, seed=seed + 1, scale=size / dim**0.5)
    W = A - A.mT + (S + S.mT) / 2
    certain = int(torch.linalg.cholesky_ex(torch.eye(dim, **F64) + (S + S.mT) / 2).info) == 0
    assert charts.certificates(one_layer(W, torch.zeros(dim, **F64))) == [certain]
    if certain:  # the condition is sufficient: blocks small enough for the minors are P-matrices
        M = torch.eye(dim, **F64) + W
        assert charts.is_p_matrix(M[:8, :8]) and charts.is_p_matrix(M[-8:, -8:])


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "softplus"])
@pytest.mark.parametrize("step", [1.0, 0.3])
def test_the_wide_certificate_has_the_step_and_the_largest_slope(activation, step):
    """-1 / (step · slope) in one direction is the limit; a large antisymmetric part does not move it."""
    largest = {"tanh": 1.0, "relu": 1.0, "sigmoid": 0.25, "softplus": 1.0}[activation]
    A = gaussian(13, 13, scale=30.0)
    for factor, certain in ((0.99, True), (1.01, False)):
        W = A - A.mT
        W[5, 5] = -factor / (largest * step)
        assert charts.certificates(one_layer(W, torch.zeros(13, **F64), step=step, activation=activation)) == [certain]


def test_unknown_slopes_are_refused_only_where_they_matter():
    for order in (0, 1):
        with pytest.raises(ValueError, match="slopes are unknown; one of tanh, relu, sigmoid, softplus"):
            charts.certificates(CkNetwork([2, 2], order=order, activation=torch.sin))
    assert charts.is_chart(CkNetwork([2] * 3, order=2, activation=torch.sin))


def relu_layers(dim, count=200):
    """Random layers, and how many preimages the images of their pieces and some random points have."""
    W, b = gaussian(count, dim, dim, scale=1.2 * dim**-0.5), gaussian(count, dim, seed=1)
    x = charts.points_on_pieces(W, b)
    y = torch.cat([x + torch.relu(x @ W.mT + b[:, None]), gaussian(count, 20, dim, seed=2, scale=3.0)], 1)
    return W, b, y


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_p_matrices_are_the_layers_with_one_preimage_each(dim):
    W, b, y = relu_layers(dim)
    bijective = (charts.relu_preimages(W, b, y)[1].sum(-1) == 1).all(1)
    M = torch.eye(dim, **F64) + W
    assert torch.equal(charts.is_p_matrix(M), bijective)
    assert 0 < int(bijective.sum()) < len(W)
    if dim > 1:
        assert not torch.equal(torch.linalg.det(M) > 0, bijective)
    assert not torch.equal(torch.linalg.matrix_norm(W, 2) < 1, bijective)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("step", [1.0, 0.5])
def test_relu_preimages_are_all_of_them(dim, step):
    W, b, _ = relu_layers(dim)
    x = gaussian(len(W), 30, dim, seed=3, scale=2.0)
    y = x + step * torch.relu(x @ W.mT + b[:, None])
    solutions, found = charts.relu_preimages(W, b, y, step)
    image = solutions + step * torch.relu(torch.einsum("lab,lnpb->lnpa", W, solutions) + b[:, None, None])
    assert ((image - y[:, :, None]).norm(dim=-1)[found] < 1e-7).all()  # each is a preimage
    near = (solutions - x[:, :, None]).norm(dim=-1).masked_fill(~found, torch.inf).amin(-1)
    assert (near < 1e-7).all()  # and the point that y came from is among them


def test_the_absolute_value_has_two_preimages_or_none():
    """x + relu(-2x) = |x| has two preimages above zero and none below."""
    W, b = torch.full((1, 1), -2.0, **F64), torch.zeros(1, **F64)
    x, found = charts.relu_preimages(W, b, torch.tensor([[1.5], [-1.5]], **F64))
    assert found.sum(-1).tolist() == [2, 0]
    assert sorted(x[0][found[0]].flatten().tolist()) == [-1.5, 1.5]


def test_there_is_a_point_on_every_linear_piece():
    W, b = gaussian(5, 3, 3), gaussian(5, 3, seed=1)
    z = torch.einsum("lab,lpb->lpa", W, charts.points_on_pieces(W, b, on=0.5, off=-2.0)) + b[:, None]
    expected = torch.where(charts.patterns(3), 0.5, -2.0).to(**F64)
    assert torch.allclose(z, expected.expand_as(z), atol=1e-9)
    assert charts.patterns(2).tolist() == [[False, False], [True, False], [False, True], [True, True]]


@pytest.mark.parametrize("seed", range(12))
def test_newton_finds_three_preimages_where_a_tanh_layer_folds_and_one_where_it_is_certified(seed):
    W, b = gaussian(2, 2, seed=seed), gaussian(2, seed=seed + 100)
    layer = one_layer(W, b)
    corners = charts.points_on_pieces(W, b, on=0.0, off=8.0)
    y = layer.coordinates(corners)[-1][torch.linalg.det(jacobians(layer, corners)[0]).argmin()].detach()
    found = charts.preimages(layer, y, reach=1.01)
    assert torch.allclose(layer.coordinates(found)[-1], y.expand_as(found), atol=1e-9)
    certain = charts.is_chart(layer)
    assert certain or bool((charts.principal_minors(torch.eye(2, **F64) + W) < 0).any())
    assert len(found) == 1 if certain else len(found) >= 3 and len(found) % 2 == 1  # degree 1: an odd number


def test_newton_finds_the_three_preimages_of_a_fold():
    """x - 3/2 tanh x = 0 has three roots; of y = 5 there is one."""
    layer = one_layer(torch.ones(1, 1, **F64), torch.zeros(1, **F64), step=1.0, activation=lambda z: -1.5 * torch.tanh(z))
    assert len(charts.preimages(layer, torch.zeros(1, **F64), reach=2.0)) == 3
    assert len(charts.preimages(layer, torch.full((1,), 5.0, **F64), reach=2.0)) == 1


def test_images_are_rotated_about_their_centre():
    image = np.zeros((8, 8))
    image[1:6, 2:5] = np.arange(15).reshape(5, 3)
    turned = charts.rotated_images(image, [0, 90, 180, 360]).reshape(4, 8, 8).numpy()
    assert np.allclose(turned[1], np.rot90(turned[0]), atol=1e-10)
    assert np.allclose(turned[2], np.rot90(turned[0], 2), atol=1e-10)
    assert np.allclose(turned[3], turned[0], atol=1e-10)
    assert not np.allclose(turned[1], turned[0], atol=1e-3)
    assert turned[0].mean() == pytest.approx(image.mean() / 1.5**2)  # the frame takes no brightness away


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_local_dimension_of_a_curved_grid_is_the_grids(dim):
    side = {1: 200, 2: 25, 3: 11}[dim]
    grid = torch.cartesian_prod(*[torch.linspace(0, 1, side, **F64)] * dim).reshape(-1, dim)
    curved = torch.cat([grid, 0.1 * (grid**2).sum(1, keepdim=True)], 1) @ gaussian(dim + 1, 20)
    found = charts.local_dimension(curved, neighbours=3**dim)
    assert float(found.double().mean()) == pytest.approx(dim, abs=0.1)


def test_the_edge_of_a_fold_known_by_hand():
    """x + (1, 1) tanh(w·x) has det 1 + (w·(1, 1)) sech²(w·x): it is 0 on two lines normal to w, and (1, 1) is squeezed to nothing."""
    w, line = torch.tensor([-3.0, 1.0], **F64), torch.linspace(-1, 1, 11, **F64)
    x, normal, squeezed = charts.orientation_edge(one_layer(torch.stack([w, w]), torch.zeros(2, **F64)), line)
    assert len(x) > 20 and torch.allclose((x @ w).abs(), torch.full((len(x),), math.acosh(2**0.5), **F64))
    assert torch.allclose((normal @ w).abs(), w.norm().expand(len(x)))
    assert torch.allclose(squeezed.sum(1).abs(), torch.full((len(x),), 2**0.5, **F64), atol=1e-6)


def test_a_map_that_keeps_orientation_has_no_edge():
    kept = charts.orientation_edge(one_layer(torch.eye(2, **F64), torch.zeros(2, **F64)), torch.linspace(-1, 1, 5, **F64))
    assert [each.shape for each in kept] == [(0, 2)] * 3
    with pytest.raises(ValueError, match="2 at the input and at the output"):
        charts.orientation_edge(CkNetwork([3, 3]), torch.linspace(-1, 1, 5))
