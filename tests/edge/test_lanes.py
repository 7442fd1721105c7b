"""Two lanes through one window: whatever happens, and in whatever order."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.core.lanes import LATE_S, Lane, Lanes, Limits

RESEND_S = 10.0
limits = st.builds(
    Limits,
    batches=st.integers(2, 9),
    bytes=st.integers(10, 400),
    backlog_bytes_per_s=st.floats(1, 1000),
    resend_s=st.just(RESEND_S),
)


@dataclass
class Gateway:
    """An outbox, a wire and a clock around the lanes; drives them as the uplink does."""

    limits: Limits
    pending: dict[int, int] = field(default_factory=dict)  # seq: size
    under_way: set[int] = field(default_factory=set)
    sent: list[tuple[Lane, int]] = field(default_factory=list)  # first sendings since the connection stands
    now_s: float = 0.0
    sealed: int = 0

    def __post_init__(self) -> None:
        self.lanes = Lanes(self.limits)

    def seal(self, size: int) -> None:
        self.sealed += 1
        self.pending[self.sealed] = size

    def connect(self) -> None:
        self.under_way.clear()
        self.sent.clear()
        oldest, newest = (min(self.pending), max(self.pending)) if self.pending else (1, 0)
        self.lanes.connect(oldest, newest, self.now_s)

    def pump(self) -> None:
        while self._next(Lane.LIVE) or self._next(Lane.BACKLOG):
            assert len(self.under_way) <= self.limits.batches

    def _next(self, lane: Lane) -> bool:
        after = self.lanes.after(lane, self.now_s)
        if after is None:
            return False
        if lane is Lane.LIVE and self.lanes.is_late(self.now_s):
            self.lanes.split(max(self.pending, default=0), self.now_s)
            return True
        seq = min((seq for seq in self.pending if seq > after), default=None)
        if seq is None:
            self.lanes.drained(lane, self.now_s)
            return False
        if self.lanes.admit(lane, seq, self.pending[seq]):
            assert seq not in self.under_way
            self.under_way.add(seq)
            self.sent.append((lane, seq))
            assert self.lanes.floor <= min(self.pending), "a batch would be taken for settled that is not"
        return True

    def settle(self, seq: int) -> None:
        self.under_way.discard(seq)
        self.pending.pop(seq, None)
        self.lanes.settled(seq)

    def confirm_all(self) -> None:
        for seq in self.under_way:
            self.lanes.confirmed(seq, self.now_s, is_heard=True)

    def flights(self, lane: Lane) -> list[int]:
        return [seq for way, seq in self.sent if way is lane and seq in self.under_way]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("seal"), st.integers(1, 300)),
        st.tuples(st.just("receipt"), st.integers(0, 20)),
        st.tuples(st.just("wait"), st.floats(0, 3)),
        st.tuples(st.just("puback"), st.none()),
        st.tuples(st.just("evict"), st.integers(0, 20)),
        st.tuples(st.just("cut"), st.none()),
    ),
    max_size=60,
)


def act(gateway: Gateway, step: str, value: float) -> None:
    if step == "seal":
        gateway.seal(int(value))
    elif step == "receipt" and gateway.under_way:
        gateway.settle(sorted(gateway.under_way)[int(value) % len(gateway.under_way)])
    elif step == "wait":
        gateway.now_s += value
    elif step == "puback":
        gateway.confirm_all()
    elif step == "evict" and gateway.pending:  # a full outbox lets go of one
        gateway.pending.pop(sorted(gateway.pending)[int(value) % len(gateway.pending)])
    elif step == "cut":
        gateway.connect()


def run(limit: Limits, before: int, script: list[tuple[str, float]]) -> Gateway:
    gateway = Gateway(limit)
    for _ in range(before):
        gateway.seal(20)
    gateway.connect()
    for step, value in script:
        act(gateway, step, value)
        gateway.pump()
    return gateway


@given(limits, st.integers(0, 40), steps)
@settings(max_examples=300, deadline=None)
def test_each_batch_is_sent_and_settled_in_the_end(limit: Limits, before: int, script: list[tuple[str, float]]) -> None:
    gateway = run(limit, before, script)
    for _ in range(10_000):
        if not gateway.pending and not gateway.under_way:
            break
        gateway.now_s += 1.0
        gateway.pump()
        gateway.confirm_all()
        for seq in list(gateway.under_way):
            gateway.settle(seq)
    assert not gateway.pending
    assert gateway.lanes.under_way == 0


@given(limits, st.integers(0, 40), steps)
@settings(max_examples=300, deadline=None)
def test_within_a_lane_batches_go_in_ascending_order_and_none_goes_twice(
    limit: Limits, before: int, script: list[tuple[str, float]]
) -> None:
    gateway = run(limit, before, script)
    for lane in Lane:
        seqs = [seq for way, seq in gateway.sent if way is lane]
        assert seqs == sorted(set(seqs))
    assert len({seq for _, seq in gateway.sent}) == len(gateway.sent)


@given(limits, st.integers(0, 40), steps)
@settings(max_examples=300, deadline=None)
def test_the_window_holds_and_each_lane_keeps_its_share(
    limit: Limits, before: int, script: list[tuple[str, float]]
) -> None:
    gateway = run(limit, before, script)
    live, backlog = gateway.flights(Lane.LIVE), gateway.flights(Lane.BACKLOG)
    assert len(live) + len(backlog) == gateway.lanes.under_way <= limit.batches
    assert len(backlog) <= limit.batches // 2
    assert len(live) < limit.batches


@given(limits, st.integers(1, 40), st.floats(0, LATE_S))
def test_a_batch_sealed_while_live_is_idle_goes_at_once_whatever_the_backlog(
    limit: Limits, before: int, later_s: float
) -> None:
    gateway = run(limit, before, [])
    gateway.now_s += later_s
    gateway.seal(500)
    assert gateway.lanes.has_room(Lane.LIVE)
    gateway.pump()
    assert (Lane.LIVE, gateway.sealed) in gateway.sent


def test_live_batches_that_piled_up_become_backlog_and_the_newest_goes_first() -> None:
    gateway = run(Limits(4, 10_000, 10_000, RESEND_S), 0, [("seal", 1)] * 10)
    assert gateway.flights(Lane.LIVE) == [1, 2, 3]
    gateway.now_s += LATE_S + 0.1
    gateway.settle(1)
    gateway.pump()
    assert gateway.flights(Lane.BACKLOG) == [4, 5]
    gateway.seal(1)
    gateway.settle(2)
    gateway.pump()
    assert gateway.flights(Lane.LIVE) == [3, 11]


def test_while_nobody_listens_the_oldest_is_the_probe_and_then_all_go_again_at_once() -> None:
    lanes = Lanes(Limits(8, 10_000, 10_000, RESEND_S))
    lanes.connect(1, 0, 0.0)
    for seq in (1, 2, 3):
        assert lanes.admit(Lane.LIVE, seq, 1)
        lanes.confirmed(seq, 0.0, is_heard=False)
    assert not lanes.has_room(Lane.LIVE)
    for second in (1.0, 2.0, 3.0):
        assert lanes.due(second) == [1]
        lanes.confirmed(1, second, is_heard=False)
    assert lanes.due(4.0) == [1]
    lanes.confirmed(1, 4.0, is_heard=True)
    assert lanes.has_room(Lane.LIVE)
    assert lanes.due(4.0) == [2, 3]
    assert lanes.due(4.0 + RESEND_S - 0.1) == []
    assert lanes.due(4.0 + RESEND_S) == [1]


def test_a_batch_that_went_unheard_goes_again_as_soon_as_another_one_is_heard() -> None:
    lanes = Lanes(Limits(8, 10_000, 10_000, RESEND_S))
    lanes.connect(1, 0, 0.0)
    assert all(lanes.admit(Lane.LIVE, seq, 1) for seq in (1, 2, 3))
    lanes.confirmed(1, 0.5, is_heard=False)
    lanes.confirmed(2, 0.5, is_heard=True)
    assert lanes.is_heard
    assert lanes.due(0.5) == [1]


def test_the_backlog_keeps_to_its_rate() -> None:
    gateway = Gateway(Limits(100, 10**9, 100.0, RESEND_S))
    for _ in range(100):
        gateway.seal(50)
    gateway.connect()
    for _ in range(10):
        gateway.pump()
        gateway.confirm_all()
        for seq in list(gateway.under_way):
            gateway.settle(seq)
        gateway.now_s += 1.0
    assert 10 * 2 <= len(gateway.sent) <= 10 * 2 + 2  # two batches a second, and the burst at the beginning


def test_of_a_large_backlog_little_is_on_the_wire_until_the_broker_takes_it() -> None:
    gateway = Gateway(Limits(100, 10**9, 1e9, RESEND_S))
    for _ in range(50):
        gateway.seal(100_000)
    gateway.connect()
    gateway.pump()
    assert gateway.flights(Lane.BACKLOG) == [1, 2]
    gateway.confirm_all()
    gateway.pump()
    assert gateway.flights(Lane.BACKLOG) == [1, 2, 3, 4]


def test_a_batch_without_a_receipt_goes_again_later_and_later() -> None:
    gateway = run(Limits(4, 1000, 1000, RESEND_S), 0, [("seal", 1)])
    waits = []
    for _ in range(5):
        assert gateway.lanes.due(gateway.now_s + 1000) == []  # on the wire: the broker has not even taken it
        gateway.confirm_all()
        begun_s = gateway.now_s
        while not gateway.lanes.due(gateway.now_s):
            gateway.now_s += 1
        waits.append(gateway.now_s - begun_s)
    assert waits == [10, 20, 40, 60, 60]


@pytest.mark.parametrize("has_live", [True, False])
def test_batches_that_get_no_receipt_do_not_hold_up_the_others_and_go_again(has_live: bool) -> None:
    gateway, held, sent = Gateway(Limits(16, 10**9, 1e9, RESEND_S)), set(range(1, 31)), Counter[int]()
    for _ in range(0 if has_live else 100):
        gateway.seal(20)
    gateway.connect()
    for second in range(3600):
        if has_live and second < 100:
            gateway.seal(20)
        gateway.under_way -= set(gateway.lanes.step_aside(gateway.now_s))
        again, before = gateway.lanes.due(gateway.now_s), set(gateway.under_way)
        gateway.pump()
        for seq in {*again, *(gateway.under_way - before)}:
            sent[seq] += 1
            gateway.lanes.confirmed(seq, gateway.now_s, is_heard=True)
        for seq in gateway.under_way - held:
            gateway.settle(seq)
        gateway.now_s += 1.0
        assert gateway.lanes.floor <= min(gateway.pending)
        assert gateway.lanes.under_way == len(gateway.under_way) <= 16
    assert gateway.pending.keys() == held
    assert min(sent[seq] for seq in held) > 5
    for _ in range(600):
        gateway.now_s += 1.0
        gateway.pump()
        gateway.confirm_all()
        for seq in list(gateway.under_way):
            gateway.settle(seq)
    assert not gateway.pending


def test_a_receipt_for_an_unknown_batch_changes_nothing() -> None:
    gateway = run(Limits(4, 1000, 1000, RESEND_S), 1, [("wait", 0)])
    gateway.lanes.settled(99)
    gateway.lanes.confirmed(99, 0.0, is_heard=True)
    assert gateway.lanes.under_way == 1
