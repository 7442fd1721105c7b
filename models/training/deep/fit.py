"""The one training loop: AdamW, cosine schedule, early stopping on examples held out by time or by unit.

Loshchilov & Hutter (2019), Decoupled Weight Decay Regularization, ICLR; (2017), SGDR, ICLR.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.training.deep.layers import Layer

Examples = NDArray[np.int64]  # numbers of examples, [n]
_MOST_AT_ONCE = 1024  # examples a step of the held-out part, where no gradient is kept


class Plan(NamedTuple):
    """How long and how fast to train."""

    epochs: int = 50
    batch: int = 64
    batches: int = 1000  # of an epoch, at most: of many examples each epoch sees others
    learning_rate: float = 1e-3  # at the start; falls to 0 along a half cosine
    weight_decay: float = 1e-4
    patience: int = 10  # epochs without a better held-out loss before the end


def train(
    make: Callable[[], Layer],
    draw: Callable[[Examples], tuple[torch.Tensor, torch.Tensor]],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    *,
    examples: Examples,
    held_out: Examples,
    plan: Plan,
    seed: int,
    advance: Callable[[int, int], None],
) -> Layer:
    """The network with the weights of the epoch that was best on `held_out`, in `eval()`.

    The same seed gives the same network on the same machine: one thread, and PyTorch's random state is as it was
    before and after.

    Args:
        make: makes the network; called once, seeded.
        draw: input and target of the examples of these numbers, float32.
        loss: of output and target, a mean over examples.
        examples: to learn from.
        held_out: to choose the epoch by; never learnt from.
        plan: how long and how fast.
        seed: of weights, order and dropout.
        advance: told how many epochs are done, of how many; at the end, all.
    """
    with alone(seed):
        network = make()
        optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
        steps = min(plan.batches, -(-len(examples) // plan.batch))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plan.epochs * steps)
        rng = np.random.default_rng(seed)
        best, best_at, weights = np.inf, 0, copy.deepcopy(network.state_dict())
        for epoch in range(plan.epochs):
            advance(epoch, plan.epochs)
            network.train()
            for numbers in _batches(rng.permutation(examples)[: steps * plan.batch], plan.batch):
                given, target = draw(numbers)
                optimiser.zero_grad()
                loss(network(given), target).backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
            found = _mean_loss(network, draw, loss, held_out)
            if found < best:
                best, best_at, weights = found, epoch, copy.deepcopy(network.state_dict())
            if epoch - best_at >= plan.patience:
                break
        advance(plan.epochs, plan.epochs)
        network.load_state_dict(weights)
        return network.eval()


def predict(network: Layer, given: NDArray[np.float32]) -> NDArray[np.float32]:
    """The network's output for a batch, one thread, no gradient."""
    with alone(0), torch.no_grad():
        found: NDArray[np.float32] = network(torch.from_numpy(np.ascontiguousarray(given))).numpy()
        return found


def _mean_loss(
    network: Layer,
    draw: Callable[[Examples], tuple[torch.Tensor, torch.Tensor]],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    examples: Examples,
) -> float:
    network.eval()
    total = 0.0
    with torch.no_grad():
        for numbers in _batches(examples, _MOST_AT_ONCE):
            given, target = draw(numbers)
            total += len(numbers) * float(loss(network(given), target))
    return total / len(examples)


def _batches(examples: Examples, size: int) -> Iterator[Examples]:
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


@contextmanager
def alone(seed: int) -> Iterator[None]:
    """One thread, and PyTorch's random state from `seed`; both are as they were afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
