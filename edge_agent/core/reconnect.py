"""When to connect again: full jitter, and slowly where two clients fight over one id.

Rules
1. The delay is uniform(0, min(30, 0.25 * 2**attempt)) s, so that a plant full of agents does not return as one.
2. A connection counts as a success, and the attempts begin anew, only once it has lasted or the broker has
   delivered a message and closed it itself: one that is accepted and dies at once must not be retried at full speed.
3. A broker serves one client an id, and the newer wins: two agents with the same id throw each other out for ever.
   With MQTT 5 a broker can say so (0x8E; Mosquitto 2.0.11 does not). Else connections that are accepted and soon
   closed, time after time, are the only sign.

Pure: time and chance are arguments.
"""

from enum import Enum
from random import Random

FIRST_S, LONGEST_S = 0.25, 30.0
LASTED_S = 10.0
CONTESTED_S = (15.0, 30.0)
SHORT_S, SHORT_LIVES = 3.0, 4  # a fight: so many connections in a row that lived no longer


class End(Enum):
    """How a connection ended."""

    CLOSED = "closed by the broker"
    TAKEN_OVER = "taken over by another client"
    GIVEN_UP = "given up by us"  # a silent or faulty broker, or somebody asked for a new connection


class Reconnects:
    """The history of one link's connections, as far as the next delay needs it."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._attempt = self._short_lives = 0
        self._since_s = 0.0
        self._has_delivered = False

    @property
    def is_contested(self) -> bool:
        """Whether connections were accepted and soon closed, several in a row."""
        return self._short_lives >= SHORT_LIVES

    def failed(self) -> float:
        """No connection came about, or the broker refused it. Returns the delay in s."""
        self._short_lives = 0
        return self._delay_s()

    def connected(self, now_s: float) -> None:
        """The broker has accepted us."""
        self._since_s, self._has_delivered = now_s, False

    def delivered(self) -> None:
        """A message came."""
        self._has_delivered = True

    def ended(self, now_s: float, end: End) -> float:
        """An accepted connection is over. Returns the delay in s."""
        age_s = now_s - self._since_s
        has_lasted = age_s >= LASTED_S
        self._short_lives = self._short_lives + 1 if end is End.CLOSED and age_s < SHORT_S else 0
        if has_lasted or (self._has_delivered and end is End.CLOSED):
            self._attempt = 0
        if end is End.TAKEN_OVER or self.is_contested:
            return self._chance.uniform(*CONTESTED_S)
        return self._delay_s()

    def _delay_s(self) -> float:
        longest_s = min(LONGEST_S, FIRST_S * 2.0 ** min(self._attempt, 10))
        self._attempt += 1
        return self._chance.uniform(0, longest_s)
