"""The speed table, peers side by side in one run: `make bench`. Medians; ratios are what carries over to other machines."""

import statistics
import time
from collections.abc import Callable

import torch
from torch.func import functional_call, jacfwd, jacrev, vmap

import riemlib as rl
from riemlib.networks import advance, affine


def seconds(call: Callable, repeats: int = 5) -> float:
    """The median time of a call, after one that does not count."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def layer(net: rl.CkNetwork, l: int) -> Callable:
    """Layer l of an order-1 network as a function of one point."""

    def step(x):
        return advance([x[:, None]], net.activation(affine(net.weights[l], x[:, None], net.biases[l])), net.stencils[l])[0][:, 0]

    return step


def by_layer(jacobian: Callable, net: rl.CkNetwork, x: torch.Tensor) -> list[torch.Tensor]:
    """The metric at every layer from automatic differentiation of each layer, g <- J^T g J."""
    points = net.coordinates(x)
    g = torch.eye(net.widths[-1]).expand(len(x), -1, -1)
    metrics = [g]
    for l in reversed(range(len(net.weights))):
        J = vmap(jacobian(layer(net, l)))(points[l])
        g = J.mT @ g @ J
        metrics.append(g)
    return metrics[::-1]


def plain_training(net: rl.CkNetwork, sample: rl.Sample, batch_size: int, updates: int, learning_rate: float) -> None:
    """One network, as a tutorial would train it."""
    optimiser = torch.optim.Adam(net.parameters(), lr=learning_rate)
    for _ in range(updates):
        rows = torch.randperm(len(sample))[:batch_size]
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(sample.x[rows]), sample.label[rows]).backward()
        optimiser.step()


def stacked_training(nets: list[rl.CkNetwork], sample: rl.Sample, batch_size: int, updates: int, learning_rate: float) -> None:
    """Many networks by torch's own recipe for ensembles: stacked parameters, vmap over networks."""
    names = [name for name, _ in nets[0].named_parameters()]
    stacked = [torch.stack(parts).detach().requires_grad_() for parts in zip(*(net.parameters() for net in nets), strict=True)]

    def loss(parameters, x, label):
        logits = functional_call(nets[0], dict(zip(names, parameters, strict=True)), (x,))
        return torch.nn.functional.cross_entropy(logits, label)

    optimiser = torch.optim.Adam(stacked, lr=learning_rate)
    for _ in range(updates):
        rows = torch.stack([torch.randperm(len(sample))[:batch_size] for _ in nets])
        optimiser.zero_grad()
        vmap(loss)(stacked, sample.x[rows], sample.label[rows]).sum().backward()
        optimiser.step()


def table(title: str, rows: dict[str, float]) -> None:
    """Times and how many times longer than the first row's each takes."""
    print(f"\n{title}")
    best = next(iter(rows.values()))
    for name, took in rows.items():
        print(f"  {name:<44} {1e3 * took:10.2f} ms {took / best:8.1f} x")


def metrics(n: int, width: int, depth: int = 10) -> None:
    with torch.no_grad():
        net, x = rl.CkNetwork([width] * (depth + 1), seed=0), torch.randn(n, width)
        torch.testing.assert_close(rl.pullback_metrics(net, x)[0], by_layer(jacfwd, net, x)[0], rtol=1e-3, atol=1e-3)
        table(
            f"The metric at every layer: {n} points, width {width}, depth {depth}, float32",
            {
                "riemlib.pullback_metrics": seconds(lambda: rl.pullback_metrics(net, x)),
                "vmap(jacfwd), layer by layer": seconds(lambda: by_layer(jacfwd, net, x)),
                "vmap(jacrev), layer by layer": seconds(lambda: by_layer(jacrev, net, x)),
            },
        )


def training(seeds: int = 64, updates: int = 30) -> None:
    sample, settings = rl.spiral(1000), {"batch_size": 300, "updates": updates, "learning_rate": 1e-2}
    nets = [rl.CkNetwork([2] * 11, seed=seed) for seed in range(seeds)]
    few = nets[:4]
    table(
        f"One update of one network among {seeds}: 1000 points, batch 300, width 2, depth 10",
        {
            "riemlib.fit": seconds(lambda: rl.fit(nets[0], sample, seeds=range(seeds), progress=False, **settings), 3) / seeds / updates,
            "vmap over stacked networks": seconds(lambda: stacked_training(nets, sample, **settings), 3) / seeds / updates,
            "plain loop": seconds(lambda: [plain_training(net, sample, **settings) for net in few], 3) / len(few) / updates,
        },
    )


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    metrics(100_000, 2)
    metrics(2_000, 16)
    training()
