"""What a broker says of itself, and what of that stalls or loses data: in words that name the cure.

A broker says nothing of the queue it keeps for an agent that is away. Mosquitto's default ends at 1000 messages, and
the rest is dropped while its senders still get their PUBACK. It counts them, though, in `DROPPED_TOPIC`: this many
since it was started, of all its clients together, said every ten seconds and on subscribing. So a drop is seen after
the fact, and not whose messages they were. Of the messages in flight Mosquitto says its own limit in the CONNACK.
"""

from collections.abc import Sequence
from typing import NamedTuple

DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"
REFUSED = 0x80  # reason codes from here on say no
_FEW_IN_FLIGHT = 100
_SMALL_PACKET_BYTES = 1024 * 1024

# Reason codes of a CONNACK that need a person, and what that person should do. The others pass by themselves.
CURES = {
    0x84: 'the broker does not know this version of MQTT: try sensor_broker.protocol = "3.1.1"',
    0x85: "the broker does not allow this client id: see its rules for ids",
    0x86: "check sensor_broker.username and the password (TOCSIN_SENSOR_PASSWORD or password_file)",
    0x87: "check user name and password, and the broker's access rules for this user and client id",
    0x8A: "the broker has banned this client: lift the ban there",
    0x8C: "the broker wants another way to authenticate than a user name and a password",
}


class Terms(NamedTuple):
    """What a CONNACK of MQTT 5 grants; None = the broker says nothing, and what was asked for holds."""

    receive_max: int = 65_535
    max_qos: int = 2
    max_packet_bytes: int | None = None
    session_expiry_s: int | None = None


def concerns(terms: Terms, asked_expiry_s: int) -> list[str]:
    """What will stall or lose data, a sentence each."""
    found = []
    if terms.max_qos == 0:
        found.append(
            "the broker knows only QoS 0: what is under way when a connection or a process dies is lost; "
            "allow QoS 1 (Mosquitto: max_qos 1)"
        )
    if terms.receive_max < _FEW_IN_FLIGHT:
        found.append(
            f"the broker takes only {terms.receive_max} unconfirmed messages at a time, and most likely sends no more "
            "either, which limits the rate over a slow line; set max_inflight_messages 1000, and while there "
            "max_queued_messages 1000000, whose default of 1000 drops the rest (so they are named in Mosquitto)"
        )
    if terms.max_packet_bytes is not None and terms.max_packet_bytes < _SMALL_PACKET_BYTES:
        found.append(
            f"the broker takes no packets above {terms.max_packet_bytes} bytes: larger payloads of sensors never come"
        )
    if terms.session_expiry_s is not None and terms.session_expiry_s < asked_expiry_s:
        found.append(
            f"the broker forgets an agent that is away after {terms.session_expiry_s} s, not {asked_expiry_s} s "
            "(session_expiry_s): what comes after that is lost; raise its limit"
        )
    return found


def is_granted(filters: Sequence[str], codes: Sequence[int]) -> bool:
    """Whether a SUBACK lets any message of a sensor come."""
    return any(code < REFUSED and name != DROPPED_TOPIC for name, code in zip(filters, codes, strict=False))


class DropCount:
    """Follows the broker's count of dropped messages."""

    def __init__(self) -> None:
        self._last: int | None = None

    def heard(self, payload: bytes) -> int:
        """How many more were dropped since the last time that this process heard of it; 0 for the first."""
        try:
            count = int(payload)
        except ValueError:
            return 0
        before, self._last = self._last, count
        return 0 if before is None else max(0, count - before)
