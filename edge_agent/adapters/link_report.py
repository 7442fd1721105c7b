"""What either link tells its operator, in the same words, and each lasting complaint only once."""

import ssl
from collections.abc import Sequence
from typing import Any

import structlog

from edge_agent.config import SensorBroker
from edge_agent.core.broker_terms import CURES, DROPPED_TOPIC, REFUSED, DropCount, Terms, concerns

_log = structlog.get_logger()


class Report:
    """One for each link. Any thread may call it."""

    def __init__(self, broker: SensorBroker, client_id: str) -> None:
        self._broker, self._id = broker, client_id
        self._where = f"{broker.host}:{broker.port}"
        self._said: set[str] = set()
        self._drops = DropCount()

    def unreachable(self, reason: object, delay_s: float) -> None:
        """No connection came about."""
        if isinstance(reason, ssl.SSLCertVerificationError):
            cure = "check sensor_broker.ca_file, and that the certificate names the host"
            self._say(_log.error, "the sensor broker's certificate is not to be trusted", reason, delay_s, cure=cure)
        else:
            self._say(_log.warning, "the sensor broker cannot be reached", reason, delay_s)

    def refused(self, code: int, name: str, delay_s: float) -> None:
        """A CONNACK that says no; `code` as in MQTT 5."""
        if cure := CURES.get(code):
            self._say(_log.error, "the sensor broker refuses the connection", name, delay_s, cure=cure)
        else:
            self._say(_log.warning, "the sensor broker refuses the connection for now", name, delay_s)

    def connected(self, *, is_present: bool, was_expected: bool, filters: Sequence[str], terms: Terms) -> None:
        """A CONNACK that says yes. `was_expected`: this process left a session there."""
        _log.info("connected to the sensor broker", broker=self._where, session_present=is_present, filters=filters)
        if was_expected and not is_present:
            _log.warning(
                "the broker has lost the session: messages it had confirmed to publishers meanwhile may be lost",
                broker=self._where,
            )
        for text in concerns(terms, self._broker.session_expiry_s):
            self._once(_log.warning, text)

    def gone(self, reason: object, delay_s: float) -> None:
        """An accepted connection is over."""
        self._say(_log.warning, "the sensor broker is gone", reason, delay_s)

    def taken_over(self, delay_s: float, *, is_certain: bool) -> None:
        """Another client uses our id."""
        cure = "two agents must not share site and gateway"
        if is_certain:
            text = f"another client uses the id {self._id} and takes our connection: {cure}"
        else:
            text = (
                "the broker accepts connections and closes them at once, time after time: most likely another "
                f"client uses the id {self._id}: {cure}; the broker's log says more"
            )
        _log.error(text, broker=self._where, again_in_s=round(delay_s, 1))

    def subscribed(self, filters: Sequence[str], codes: Sequence[int]) -> None:
        """The answer to a SUBSCRIBE."""
        for name, code in zip(filters, codes, strict=False):
            if name == DROPPED_TOPIC:
                continue  # a courtesy that a broker may refuse
            if code >= REFUSED:
                _log.error(
                    "the sensor broker refuses a subscription: allow this user to read the topics in its access rules",
                    filter=name,
                    code=hex(code),
                )
            elif code == 0:
                self._once(
                    _log.error,
                    f"the sensor broker grants {name} at QoS 0 only: what is under way when a connection dies is lost",
                )

    def dropped(self, payload: bytes) -> None:
        """The broker's own count of dropped messages."""
        if count := self._drops.heard(payload):
            _log.error(
                "the sensor broker has dropped messages, of this agent or of another client that was away or slow: "
                "raise its limit (Mosquitto: max_queued_messages 1000000)",
                broker=self._where,
                messages=count,
            )

    def _say(self, log: Any, text: str, reason: object, delay_s: float, **more: object) -> None:  # noqa: ANN401 - structlog
        log(f"{text}; trying again", broker=self._where, reason=str(reason), again_in_s=round(delay_s, 1), **more)

    def _once(self, log: Any, text: str) -> None:  # noqa: ANN401 - structlog
        if text not in self._said:
            self._said.add(text)
            log(text, broker=self._where)
