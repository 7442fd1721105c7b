"""From waveforms to features: the denoise chain of the rule, then each feature that it names.

A waveform's features are a function of its own samples, the rule and the speed: the same to the bit whatever else is
in the block. Nothing is remembered, so there is nothing for a snapshot to hold.
"""

import importlib
from typing import Any

import numpy as np

from edge_agent.config.waveforms import WaveformRule
from edge_agent.core.features import WAVEFORM_FEATURES
from edge_agent.core.features.block import Block, Floats, Samples

_FEATURES = "edge_agent.core.features."
_DENOISE = {
    "butterworth": "edge_agent.core.features.filters:ButterworthFilter",
    "wavelet": "edge_agent.core.denoise.wavelet:WaveletShrinkage",
}
# At once: what the steps pass on to each other stays in the processor's cache, and no array is so large that
# the C library asks the system for new pages each time.
CHUNK_SAMPLES = 32_768


class WaveformFeatures:
    """The features of one rule. Loads scipy or PyWavelets when the rule asks for what needs them."""

    def __init__(self, rule: WaveformRule) -> None:
        self._rule = rule
        self._chain = [_load(_DENOISE[settings.filter])(settings) for settings in rule.denoise]
        self._features = {name: _load(_FEATURES + WAVEFORM_FEATURES[name].place) for name in rule.features}

    @property
    def needs_speeds(self) -> bool:
        """Whether the speed of each waveform must be told."""
        return self._rule.speed_channel is not None

    def step(self, samples: Samples, dt_ns: int, speed_rpm: Floats | None = None) -> dict[str, Floats]:
        """Features by name, float64 [n].

        samples: float32 [n, samples], at least one of each. speed_rpm: float64 [n], NaN = not known; None = the rule's
        own. NaN in the result: not given for that waveform, to be left out; a feature given for none is not there.
        """
        if speed_rpm is None:
            fixed = self._rule.speed_rpm
            speed_rpm = np.full(len(samples), np.nan if fixed is None else fixed)
        rows = max(1, CHUNK_SAMPLES // samples.shape[-1])
        parts = [
            self._take(Block(samples[i : i + rows], dt_ns, self._rule, speed_rpm[i : i + rows]))
            for i in range(0, len(samples), rows)
        ]
        if not parts[0]:
            return {}
        # Length and rate decide which features there are, and these the parts have in common.
        joined = np.concatenate([list(part.values()) for part in parts], axis=-1)  # [features, n]
        is_given = np.isfinite(joined)
        joined[~is_given] = np.nan
        return {name: joined[i] for i, name in enumerate(parts[0]) if is_given[i].any()}

    def _take(self, block: Block) -> dict[str, Floats]:
        given: dict[str, Floats] = {}
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 nothing is given
            for stage in self._chain:
                denoised: Block | None = stage.apply(block)
                if denoised is None:
                    return {}
                block = denoised
            for name, feature in self._features.items():
                found = block.once(feature)
                if isinstance(found, dict):
                    given |= {f"{name}.{suffix}": values for suffix, values in found.items()}
                elif found is not None:
                    given[name] = found
        return given


def _load(place: str) -> Any:  # noqa: ANN401 - whatever stands there
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
