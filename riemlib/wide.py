"""The sweep of P and g through layers of one large width (Eqs. 10-12), in place: as few new pages of memory as the result needs."""

import torch
from torch import Tensor

from . import checks, memory
from .networks import CkNetwork


def applies(net: CkNetwork, slope: Tensor) -> bool:
    """Whether every layer has one large width and x alone as its state, and no derivative is taken. Else the general sweep serves."""
    plain = {*net.widths} == {net.widths[0]} and net.widths[0] > memory.NARROW and {*net.entries} == {1}
    return plain and not slope.requires_grad and not checks.is_transformed()


def swept(net: CkNetwork, slopes: list[Tensor], *, pushforwards: bool) -> list[Tensor]:
    """P, where `pushforwards`, and P^T P at the layers L, L - 1, ..., 0, (n, d, d) each, from the slopes (d, n) of the layers.

    A layer is P <- A P + B (P diag(f')) W, its stencil [A | B]. The last one starts from the identity and needs no product.
    """
    d, n = slopes[-1].shape
    identity = torch.eye(d, dtype=slopes[-1].dtype, device=slopes[-1].device).expand(n, d, d)
    at_once = n if identity.device.type != "cpu" else min(n, max(2, memory.CACHED // (d * d * identity.element_size())))
    found = [[identity.new_empty(n, d, d) for _ in range(1 + pushforwards)] for _ in slopes]
    covectors, scaled = identity.new_empty(2, at_once, d, d)
    slopes = [slope.mT.contiguous() for slope in slopes]
    for start in range(0, n, at_once):
        part = slice(start, min(n, start + at_once))
        P, S = covectors[: part.stop - start], scaled[: part.stop - start]
        for l in reversed(range(len(slopes))):
            ((A, B),), W = net.stencils[l], net.weights[l].detach()
            if l == len(slopes) - 1:
                torch.mul(slopes[l][part][:, :, None], B * W, out=P).diagonal(dim1=1, dim2=2).add_(A)
            else:
                torch.mul(P, B * slopes[l][part][:, None], out=S)
                P.flatten(0, 1).addmm_(S.flatten(0, 1), W, beta=A)
            if pushforwards:
                found[l][0][part] = P
            torch.bmm(P.mT, P, out=found[l][-1][part])
    return [identity] * (1 + pushforwards) + [each for pair in found[::-1] for each in pair]
