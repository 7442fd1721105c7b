"""The layers that PyTorch does not have, or has in a form that is hard to export. A network is a short list of layers.

A batch is [batch, channels, time], as `torch.nn.Conv1d` has it; after `torch.nn.Flatten` or `Last`, [batch, features].
"""

from typing import Any

import torch
from torch import nn

Layer = Any  # torch.nn.Module; PyTorch's own types are not read, so that mypy finds the same without it


class Residual(nn.Sequential):  # type: ignore[misc]
    """Adds what its layers make of the input to the input: shapes must be equal (He et al. 2016, CVPR)."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[batch, ...] to the same shape."""
        return given + super().forward(given)


class ChannelNorm(nn.LayerNorm):  # type: ignore[misc]
    """Layer normalisation over the channels of each time step, [batch, channels, time] (Ba et al. 2016)."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[batch, channels, time] to the same shape."""
        return super().forward(given.transpose(1, 2)).transpose(1, 2)


class Attention(nn.Module):  # type: ignore[misc]
    """Self-attention over time, [batch, channels, time] (Vaswani et al. 2017, NeurIPS). Knows no positions.

    Each time step looks at all of the window; `heads` must divide `channels`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            msg = f"{heads} heads do not divide {channels} channels"
            raise ValueError(msg)
        self.heads = heads
        self.mix = nn.Conv1d(channels, 3 * channels, 1)  # queries, keys, values
        self.join = nn.Conv1d(channels, channels, 1)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[batch, channels, time] to the same shape."""
        batch, channels, time = given.shape
        mixed = self.mix(given).reshape(batch, 3 * self.heads, channels // self.heads, time)
        query, key, value = mixed.split(self.heads, dim=1)  # [batch, heads, width, time] each
        weight = (query.transpose(2, 3) @ key / (channels // self.heads) ** 0.5).softmax(-1)
        return self.join((value @ weight.transpose(2, 3)).reshape(batch, channels, time))


class Last(nn.Module):  # type: ignore[misc]
    """The last time step alone: [batch, channels, time] to [batch, channels]."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[batch, channels, time] to [batch, channels]."""
        return given[:, :, -1]


class Turn(nn.Module):  # type: ignore[misc]
    """[batch, time, channels] to [batch, channels, time], and back."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[batch, a, b] to [batch, b, a]."""
        return given.transpose(1, 2)


class Beside(nn.Sequential):  # type: ignore[misc]
    """The first `count` features go through its layers; the others pass beside them and follow what comes out."""

    def __init__(self, count: int, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.count = count

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """[batch, features] to [batch, features of the last layer + features - count]."""
        return torch.cat([super().forward(given[:, : self.count]), given[:, self.count :]], 1)
