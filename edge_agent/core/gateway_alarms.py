"""Alarms of the gateway itself: the asset is its name.

    inference-provider              a model runs on another provider than the first wanted one
    model-out-of-service/<model>    a model failed: its windows are not scored; or its file cannot be used: the bundle
                                    that served before does, if there is one

They are told by the journal (`Configured`, `Withdrawn`) and by nothing else, so a replay gives the same ones.
"""

from collections.abc import Mapping

from models.contract.batch import Alarm

PROVIDER, OUT_OF_SERVICE = "inference-provider", "model-out-of-service/"
_SEVERITY = {PROVIDER: 0.3}
_GRAVE = 0.7
_OVER = {PROVIDER: "each model runs on the first wanted provider"}
_SERVES = "the configuration was taken over anew: the model is in service again, or no longer used"


class GatewayAlarms:
    """State: of each open alarm, by its code, when it opened, when it last spoke, and what it says."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[int, int, str]] = {}

    def tell(self, gateway: str, now_ns: int, messages: Mapping[str, str]) -> list[Alarm]:
        """The alarms that are open from now on, message by code; returns what changes."""
        changes = []
        for code, message in messages.items():
            opened_ns, spoke_ns, said = self.open.get(code, (now_ns, now_ns - 1, ""))
            if message != said:
                at_ns = max(now_ns, spoke_ns + 1)
                self.open[code] = opened_ns, at_ns, message
                changes.append(_alarm(gateway, code, opened_ns, at_ns, message, is_open=True))
        for code in sorted(self.open.keys() - messages.keys()):
            opened_ns, spoke_ns, _ = self.open.pop(code)
            at_ns = max(now_ns, spoke_ns + 1)
            changes.append(_alarm(gateway, code, opened_ns, at_ns, _OVER.get(code, _SERVES), is_open=False))
        return changes

    def add(self, gateway: str, now_ns: int, code: str, message: str) -> list[Alarm]:
        """One more; those that are open stay as they are."""
        messages = {known: said for known, (_, _, said) in self.open.items()} | {code: message}
        return self.tell(gateway, now_ns, messages)


def _alarm(gateway: str, code: str, opened_ns: int, time_ns: int, message: str, *, is_open: bool) -> Alarm:
    return Alarm(
        asset=gateway,
        code=code,
        time_ns=time_ns,
        is_open=is_open,
        severity=_SEVERITY.get(code, _GRAVE),
        id=f"{gateway}/{code}/{opened_ns}",
        message=message,
    )
