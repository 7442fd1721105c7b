"""All edge nodes: finds the one that a message is of, keeps their assets apart, and says whom to ask for births."""

from collections import Counter, OrderedDict

from edge_agent.core.errors import DecodeError
from edge_agent.core.readings import Decoded, Value
from edge_agent.core.sparkplug.births import NodeBirths, decode_births, encode_births
from edge_agent.core.sparkplug.node import Node
from edge_agent.core.sparkplug.payload import parse
from edge_agent.core.sparkplug.topic import Place, Settings

MAX_KNOWN = 1_000_000  # nodes, births, and metrics in them: a sender that invents them must not fill the memory
MAX_UNBORN = 10_000  # of these, nodes of which no birth was seen: whoever may publish can invent them
_LOOKED_AT = 1000  # restless nodes at once: a look takes microseconds, and must not hold up the link
_Key = tuple[str, str]  # group, node
_Source = tuple[str, str, str | None]  # group, node, device


class Host:
    """State over all messages; belongs to one thread.

    `counts`: since they were last looked at. `marks`: of channels that became stale, since they were last taken out;
    a message that is refused may lead to some.
    """

    def __init__(self) -> None:
        self._nodes: dict[_Key, Node] = {}
        self._unborn: OrderedDict[_Key, None] = OrderedDict()  # the one heard last is the last
        self._restless: OrderedDict[_Key, int] = OrderedDict()  # to be looked at in turn -> reorder time-out in ns
        self._owners: dict[str, _Source] = {}  # by asset
        self._size = 0  # of what is bounded by `MAX_KNOWN`
        self.counts: Counter[str] = Counter()
        self.marks: list[Value] = []
        self.is_changed = False  # births or deaths since it was last set to False

    def take(self, place: Place, content: bytes, arrival_ns: int, settings: Settings) -> Decoded:
        """What a message says. Raises DecodeError, and nothing else, whatever the bytes."""
        payload = parse(content)
        key = (place.group, place.node)
        node = self._nodes.get(key)
        if self._size >= MAX_KNOWN and (node is None or not node.has_birth(place)):
            raise DecodeError("too_many", f"more than {MAX_KNOWN} edge nodes, devices and metrics in all")
        is_birth, asset, source = place.kind.endswith("BIRTH"), place.asset(settings.assets), (*key, place.device)
        if is_birth:
            self._check_owner(asset, source)
        node = node or self._meet(key)
        size = node.size
        try:
            decoded = node.take(place, payload, arrival_ns, settings, self.counts, self.marks)
        finally:
            self._size += node.size - size
            if not node.is_calm:
                self._restless[key] = settings.reorder_ns
            self._sort(key, node)
        if is_birth:
            self._owners[asset] = source
        self.is_changed |= not place.kind.endswith("DATA")
        return decoded

    def is_repetition(self, place: Place, content: bytes) -> bool:
        """Whether a message, of which an equal one was here before, says nothing new. Raises DecodeError."""
        node = self._nodes.get((place.group, place.node))
        return node is not None and node.is_repetition(place, parse(content))

    def due(self, now_ns: int, count: int) -> list[Node]:
        """Up to `count` nodes to be asked for a rebirth now, by a monotonic clock; `Node.asked` is to follow.

        Many nodes are looked at in turn, at some each time.
        """
        found: list[Node] = []
        for _ in range(min(_LOOKED_AT, len(self._restless))):
            key, reorder_ns = self._restless.popitem(last=False)
            node = self._nodes[key]
            if node.look(now_ns, reorder_ns):
                found.append(node)
            if not node.is_calm:
                self._restless[key] = reorder_ns
            if len(found) == count:
                break
        return found

    def save(self) -> bytes:
        """The births, for `restore`."""
        return encode_births(node.births for node in self._nodes.values() if node.is_born)

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

    def _meet(self, key: _Key) -> Node:
        """A node that is not known."""
        if len(self._unborn) >= MAX_UNBORN:
            oldest, _ = self._unborn.popitem(last=False)
            self._size -= self._nodes.pop(oldest).size
            self._restless.pop(oldest, None)
        node = self._nodes[key] = Node(NodeBirths(*key))
        self._size += node.size
        return node

    def _sort(self, key: _Key, node: Node) -> None:
        """The nodes without a birth, by when they were heard."""
        if node.is_born:
            self._unborn.pop(key, None)
        else:
            self._unborn[key] = None
            self._unborn.move_to_end(key)

    def _check_owner(self, asset: str, source: _Source) -> None:
        """Two sources must not write the same channels."""
        owner = self._owners.get(asset, source)
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
