"""All edge nodes: finds the one that a message is of, keeps their assets apart, and says whom to ask for births."""

from collections import Counter

from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded
from edge_agent.core.sparkplug.births import NodeBirths, decode_births, encode_births
from edge_agent.core.sparkplug.node import Node
from edge_agent.core.sparkplug.payload import parse
from edge_agent.core.sparkplug.topic import Place, Settings

MAX_KNOWN = 1_000_000  # nodes, births, and metrics in them: a sender that invents them must not fill the memory
_Source = tuple[str, str, str | None]  # group, node, device


class Host:
    """State over all messages; belongs to one thread. `counts`: since they were last looked at."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], Node] = {}
        self._restless: dict[tuple[str, str], int] = {}  # to be looked at -> reorder time-out in ns
        self._owners: dict[str, _Source] = {}  # by asset
        self._size = 0  # of what is bounded by `MAX_KNOWN`
        self.counts: Counter[str] = Counter()
        self.is_changed = False  # births or deaths since it was last set to False

    def take(self, place: Place, content: bytes, arrival_ns: int, settings: Settings) -> Decoded:
        """What a message says. Raises DecodeError, and nothing else, whatever the bytes."""
        key = (place.group, place.node)
        node = self._nodes.get(key)
        if self._size >= MAX_KNOWN and (node is None or not node.has_birth(place)):
            raise DecodeError("too_many", f"more than {MAX_KNOWN} edge nodes, devices and metrics in all")
        if node is None:
            node = self._nodes[key] = Node(NodeBirths(place.group, place.node))
            self._size += node.size
        payload = parse(content)
        if place.kind.endswith("BIRTH"):
            self._claim(place.asset(settings.assets), (place.group, place.node, place.device))
        size = node.size
        try:
            decoded = node.take(place, payload, arrival_ns, settings, self.counts)
        finally:
            self._size += node.size - size
            if not node.is_calm:
                self._restless[key] = settings.reorder_ns
        self.is_changed |= not place.kind.endswith("DATA")
        return decoded

    def is_repetition(self, place: Place, content: bytes) -> bool:
        """Whether a message, of which an equal one was here before, says nothing new. Raises DecodeError."""
        node = self._nodes.get((place.group, place.node))
        return node is not None and node.is_repetition(place, parse(content))

    def due(self, now_ns: int) -> list[Node]:
        """The nodes to be asked for a rebirth now, by a monotonic clock; `Node.asked` is to follow."""
        found = []
        for key, reorder_ns in list(self._restless.items()):
            node = self._nodes[key]
            if node.look(now_ns, reorder_ns):
                found.append(node)
            elif node.is_calm:
                del self._restless[key]
        return found

    def save(self) -> bytes:
        """The births, for `restore`."""
        return encode_births(node.births for node in self._nodes.values() if node.births.own or node.births.devices)

    def restore(self, content: bytes, now_ns: int) -> None:
        """Before any message. What happened meanwhile is not known: all are asked. Raises ValueError: no births.

        `now_ns`: on the clock of the arrivals; later ones in `content` are those of a clock that was wrong.
        """
        for births in decode_births(content):
            births.heard_ns = min(births.heard_ns, now_ns)
            key = (births.group, births.node)
            node = self._nodes[key] = Node(births)
            self._size += node.size
            for device, birth in ((None, births.own), *births.devices.items()):
                if birth is not None:
                    self._owners[birth.asset] = (*key, device)
                    if birth.is_alive and not node.wanted:
                        node.wanted, self._restless[key] = "the agent was away", 0

    def _claim(self, asset: str, source: _Source) -> None:
        """Two sources must not write the same channels."""
        owner = self._owners.setdefault(asset, source)
        if owner == source:
            return
        births = self._nodes[owner[:2]].births
        birth = births.own if owner[2] is None else births.devices.get(owner[2])
        if birth is not None and birth.is_alive and birth.asset == asset:
            where = "/".join(name for name in owner if name is not None)
            raise DecodeError(
                "asset",
                f'asset {asset:.60} is that of {where:.120} already: set assets = "node.device" or "group.node.device"',
            )
        self._owners[asset] = source
