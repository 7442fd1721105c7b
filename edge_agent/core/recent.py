"""Memory of the last messages, so that one that comes again is taken once.

A message is known by what it says: a 64-bit hash of topic and payload. One whose readings all name their time, and
which was here before, is the same: it would write the same points again. One without a time says the same as an
earlier one quite often (a valve that stays open); it is a repetition only when the broker says that it sends it
again, under the packet id it had.

The memory holds at least the last `limit` messages and is rebuilt from the journal at a start. A broker that goes
back further (one restored from an old state) can bring readings again: the same points, marked as late.
"""

from collections.abc import Sequence

import numpy as np
import xxhash

LIMIT = 100_000


def topic_seed(topic: str) -> int:
    """What `key` wants to know of a topic."""
    return xxhash.xxh3_64_intdigest(topic.encode("utf-8", "surrogatepass"))


def message_keys(payloads: Sequence[bytes], seeds: Sequence[int]) -> list[int]:
    """The key of each message, 64 bits."""
    return list(map(xxhash.xxh3_64_intdigest, payloads, seeds))


class Recent:
    """Two generations of keys, of which the older is forgotten as a whole; and which message had a packet id last."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._by_packet_id = np.zeros(1 << 16, np.uint64)

    def knows_none(self, keys: Sequence[int]) -> bool:
        """Whether all of these are new, and each different from the others. The common case, at the cost of a set."""
        distinct = set(keys)
        return (
            len(distinct) == len(keys)
            and self._young.isdisjoint(distinct)
            and (not self._old or self._old.isdisjoint(distinct))
        )

    def __contains__(self, key: int) -> bool:
        return key in self._young or key in self._old

    def was_delivered(self, key: int, packet_id: int) -> bool:
        """Whether this was the last message that came with this packet id (0: QoS 0, which has none)."""
        return packet_id > 0 and int(self._by_packet_id[packet_id]) == key

    def add(self, keys: Sequence[int], packet_ids: Sequence[int]) -> None:
        """Messages that are in the journal now."""
        if not keys:
            return
        self._young.update(keys)
        self._by_packet_id[packet_ids] = keys
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, set()


def pack_keys(keys: Sequence[int], packet_ids: Sequence[int]) -> bytes:
    """Keys and packet ids as the journal keeps them: n x uint64, then n x uint16, little-endian."""
    return np.array(keys, "<u8").tobytes() + np.array(packet_ids, "<u2").tobytes()


def unpack_keys(contents: Sequence[bytes]) -> tuple[list[int], list[int]]:
    """The reverse, of several, one after the other."""
    cuts = [count_keys(content) * 8 for content in contents]
    keys = b"".join([content[:cut] for content, cut in zip(contents, cuts, strict=True)])
    packet_ids = b"".join([content[cut:] for content, cut in zip(contents, cuts, strict=True)])
    return np.frombuffer(keys, "<u8").tolist(), np.frombuffer(packet_ids, "<u2").tolist()


def count_keys(content: bytes) -> int:
    """How many are packed there."""
    return len(content) // 10
