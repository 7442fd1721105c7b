"""What the stores over HTTP share: one pooled connection, and what an answer's status asks us to do."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

import orjson
import urllib3

from aggregator.core.bisect import Rejected
from aggregator.ports import RetryLater, StoreMisconfigured

# The texts by which InfluxDB 1.x, 2.x and 3.x say that rows are bad, not the server.
_BAD_ROWS = re.compile(
    r"pars(?:e|ing)|partial write|field type conflict|column type|points beyond retention"
    r"|max key length|invalid number|value out of range",
    re.IGNORECASE,
)
_DROPPED = re.compile(r"dropped=(\d+)")
_NO_CONTENT = 204


class Answer(NamedTuple):
    """Status, text and the seconds that the server asks us to wait."""

    status: int
    text: str
    after_s: float | None


class Http:
    """A keep-alive connection that neither retries nor follows: the caller decides. Raises RetryLater."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float, ca_file: str | None) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(
            retries=False, timeout=timeout_s, headers=dict(headers), maxsize=2, ca_certs=ca_file
        )

    def request(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None, encoding: str | None = None
    ) -> Answer:
        """One request; `fields` go into the URL. Raises RetryLater when no answer came."""
        headers = dict(self._pool.headers)
        if encoding is not None:
            headers |= {"Content-Encoding": encoding, "Content-Type": "text/plain; charset=utf-8"}
        url = f"{self._url}{path}?{urlencode(fields)}"
        try:
            answer = self._pool.request(method, url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(self._url, error) from error
        return Answer(answer.status, message_of(answer.data), retry_after(answer.headers.get("Retry-After")))

    def close(self) -> None:
        """Closes idle connections."""
        self._pool.clear()


def no_answer(url: str, error: Exception) -> RetryLater | StoreMisconfigured:
    """What to raise when the server did not answer: a wrong certificate does not pass by itself."""
    if isinstance(error, urllib3.exceptions.SSLError):
        return StoreMisconfigured(f"{url}: {error}")
    return RetryLater(f"{url}: no answer: {error}")


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; a date is not worth a clock here."""
    return float(value) if value is not None and value.isdecimal() else None


def message_of(body: bytes | str | None) -> str:
    """The message in an error's body: JSON with `error` (1.x, 3.x) or `message` (2.x), else the text itself."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        content = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text.strip()
    if isinstance(content, dict) and (message := content.get("error") or content.get("message")):
        return str(message)
    return text


def names_bad_rows(text: str) -> bool:
    """Whether an error's text blames the rows."""
    return _BAD_ROWS.search(text) is not None


def judge(answer: Answer, rows: Sequence[bytes]) -> Rejected | None:
    """A write's answer: None = all stored. Raises RetryLater, or StoreMisconfigured when a person is needed."""
    status, text, after_s = answer
    reason = f"HTTP {status}: {text}"
    if status == _NO_CONTENT:
        return None
    if status == 413:
        return Rejected(reason)
    if status in {400, 422} and names_bad_rows(text):
        dropped = _DROPPED.search(text)
        return Rejected(reason, is_all=dropped is not None and int(dropped[1]) == len(rows))
    # 1.x reports an unknown retention policy as its own failure, though it never passes
    if status in {408, 429} or (status >= 500 and "retention policy not found" not in text):
        raise RetryLater(reason, after_s)
    raise StoreMisconfigured(reason)
