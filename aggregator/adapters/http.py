"""What all that speaks HTTP to a store shares: pooled connections, and what came of a request."""

import base64
import ssl
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3

from aggregator.ports import RetryLater, StoreMisconfigured

MAX_WAIT_S = 900.0  # whatever a server asks for
# What may pass by itself although TLS failed: the other side just went away.
_PASSING = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_WRONG_URL = (urllib3.exceptions.LocationValueError, urllib3.exceptions.URLSchemeUnknown)


class Answer(NamedTuple):
    """Status, the message in it (or the whole text), the seconds that the server asks us to wait, the body."""

    status: int
    text: str
    after_s: float | None
    body: bytes = b""


class Http:
    """Keep-alive connections that neither retry nor follow: the caller decides. For several threads at once."""

    def __init__(
        self, url: str, headers: Mapping[str, str], timeout_s: float, ca_file: Path | None, connections: int = 1
    ) -> None:
        self._url = url.rstrip("/")
        self._headers = dict(headers)
        self._secrets = _secrets(urllib3.HTTPHeaderDict(headers).get("Authorization", ""))
        ca_certs = str(ca_file) if ca_file else None
        self._pool = urllib3.PoolManager(retries=False, timeout=timeout_s, maxsize=connections, ca_certs=ca_certs)

    def request(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes | None = None, encoding: str | None = None
    ) -> Answer:
        """One request; `fields` go into the URL. Raises RetryLater when no answer came, and StoreMisconfigured."""
        headers = dict(self._headers)
        if encoding is not None:
            headers |= {"Content-Encoding": encoding, "Content-Type": "text/plain; charset=utf-8"}
        url = f"{self._url}{path}?{urlencode(fields)}"
        try:
            answer = self._pool.request(method, url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(self._url, error) from error
        except ValueError:  # its text holds the header
            raise wrong_secret() from None
        text = message_of(answer.data)
        is_good = 200 <= answer.status < 300
        after_s = retry_after(answer.headers)
        return Answer(answer.status, text if is_good else without(self._secrets, text), after_s, answer.data)

    def close(self) -> None:
        """Closes idle connections."""
        self._pool.clear()


def no_answer(url: str, error: Exception) -> RetryLater | StoreMisconfigured:
    """What to raise when the server did not answer: a wrong certificate or URL does not pass by itself."""
    parts = urlsplit(url)
    where = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a password
    causes = (error, *error.args)
    is_tls = isinstance(error, urllib3.exceptions.SSLError)
    if isinstance(error, _WRONG_URL) or (is_tls and not any(isinstance(cause, _PASSING) for cause in causes)):
        return StoreMisconfigured(f"{where}: {error}")
    return RetryLater(f"{where}: no answer: {error}")


def wrong_secret() -> StoreMisconfigured:
    """What to raise when a header cannot be made; never with the text itself."""
    return StoreMisconfigured("the token, name or password holds characters that HTTP cannot carry")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header. A date is reckoned against the answer's own, because clocks differ."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        seconds = float(value)
    else:
        try:
            until, now = (parsedate_to_datetime(text) for text in (value, headers.get("Date", "")))
            seconds = (until - now).total_seconds()
        except (TypeError, ValueError):  # not a date, or only one of them with a zone
            return None
    # "at once" is no pause between attempts: ours is
    return min(seconds, MAX_WAIT_S) if seconds > 0 else None


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


def without(secrets: Iterable[str], text: str) -> str:
    """A text in which a server may have repeated what we sent."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _secrets(authorization: str) -> list[str]:
    """What must not be repeated of a header `Authorization`."""
    scheme, _, credentials = authorization.partition(" ")
    found = [credentials]
    if scheme == "Basic":
        found.append(base64.b64decode(credentials).decode(errors="replace").partition(":")[2])
    return [secret for secret in found if secret]
