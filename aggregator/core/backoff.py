"""How long to wait before the next attempt: full jitter, so that many who failed together do not return together."""

from random import Random

CAP_S = 30.0


def delay_s(attempt: int, random: Random, first_s: float = 0.5, cap_s: float = CAP_S) -> float:
    """Seconds before attempt number `attempt` (1 = the first repetition)."""
    ceiling_s = min(cap_s, first_s * 2.0 ** min(attempt, 16))
    return random.uniform(0, ceiling_s)
