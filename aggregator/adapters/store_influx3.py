"""Rows into InfluxDB 3 by its own /api/v3/write_lp, which stores the good lines of a request and names the bad ones.

At most 100 are named in an answer; the others are sent again without these until none is. The precision is always
said, because by default 3 guesses it by the size of the number.
"""

import orjson

from aggregator.adapters.http import Answer, Http
from aggregator.adapters.sending import Packed, judge, prepare, reason_of
from aggregator.config import Influx3
from aggregator.core.bisect import Doubted, Rejected
from aggregator.core.points import Points
from aggregator.ports import Write


class Influx3Store:
    """Fulfils ports.Store."""

    def __init__(self, config: Influx3) -> None:
        token = config.token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = Http(config.url, headers, config.timeout_s, config.ca_file, config.connections)
        self._fields = {
            "db": config.database,
            "precision": "nanosecond",
            "accept_partial": "true",
            "no_sync": "false",  # an answer before its log is written would be no receipt
        }

    def prepare(self, rows: Points) -> Write:
        """See ports.Store."""
        return prepare(rows, self._send)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _send(self, part: Packed) -> Rejected | Doubted | None:
        answer = self._http.request("POST", "/api/v3/write_lp", self._fields, part.body, encoding="gzip")
        if answer.status == 400 and (bad := named(answer, part)):
            return Rejected(answer.text, bad)
        return judge(answer, part)


def named(answer: Answer, part: Packed) -> dict[int, str]:
    """Positions of the rows that an answer names, with their reasons; empty when they are not surely ours.

    A number counts lines, so it is a row's only where each row is one line. The line comes with it, rendered anew and
    cut short: it can contradict the number, but not replace it.
    """
    try:
        entries = [
            (int(entry["line_number"]) - 1, str(entry["original_line"]), reason_of(answer, str(entry["error_message"])))
            for entry in orjson.loads(answer.body)["data"]
        ]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return {}
    if len(part) == 1 and entries:
        return {0: entries[0][2]}
    if not part.has_line_numbers():
        return {}
    lines = part.lines()
    if not all(0 <= at < len(lines) and _begins(lines[at].decode(), start) for at, start, _ in entries):
        return {}
    return {at: reason for at, _, reason in entries}


def _begins(line: str, start: str) -> bool:
    return bool(start) and _plain(line).startswith(_plain(start.removesuffix("...")))


def _plain(text: str) -> str:
    """Without what may or may not be written in a line that was read and rendered again."""
    return text.replace("\\", "").replace('"', "")
