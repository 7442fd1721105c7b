"""Virtual channels that are told by their names."""

import re

from edge_agent.core.derive.statistics import FEATURES

REGIME = "regime"
_FEATURE = re.compile(rf"\.({'|'.join(FEATURES)})_[0-9.e+-]+s$")


def is_source(channel: str) -> bool:
    """Whether features may be taken of it: neither a feature itself nor the regime."""
    return channel != REGIME and _FEATURE.search(channel) is None
