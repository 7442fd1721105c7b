"""Listens to a broker for a while, and leaves nothing behind there: a clean session, QoS 1, nothing sent."""

import asyncio
import time
from collections.abc import Callable, Sequence

from edge_agent.config import Broker
from edge_agent.core.doctor import Heard, Log
from models.broker import Address, Client, connection

_WAITING = 20_000  # messages received and not yet looked at; a flood beyond it is not seen


def address_of(broker: Broker) -> Address:
    """With the password and the certificates of its files. Raises OSError with a sentence for a person."""
    try:
        password = broker.password("TOCSIN_SENSOR_PASSWORD")
    except (OSError, UnicodeDecodeError) as error:
        cure = "needed: a text file of one line"
        msg = f"--password-file {broker.password_file}: cannot be read: {_reason(error)} ({cure})"
        raise OSError(msg) from error
    try:
        tls = broker.tls_context()
    except OSError as error:
        files = {"--ca-file": broker.ca_file, "--cert-file": broker.cert_file, "--key-file": broker.key_file}
        named = ", ".join(f"{option} {path}" for option, path in files.items() if path)
        msg = f"{named or 'TLS'}: cannot be used: {_reason(error)} (needed: PEM files that belong together)"
        raise OSError(msg) from error
    secret = password.get_secret_value() if password else None
    return Address(broker.host, broker.port, None, broker.username, secret, broker.keepalive_s, tls)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "no text in UTF-8"
    return str(getattr(error, "strerror", None) or error)


async def listen(
    address: Address, filters: Sequence[str], for_s: float, log: Log, tell: Callable[[float], None]
) -> None:
    """Fill the log for `for_s` seconds. `tell` is called several times a second with those that have passed.

    `filters` are sound. Raises BrokerError, also when the connection is lost on the way.
    """
    async with connection(Client(address, max_waiting=_WAITING)) as client:
        for one in filters:
            await client.listen(one)
        begin_s = time.monotonic()
        progress = asyncio.create_task(_progress(begin_s, tell), name="progress")
        try:
            async with asyncio.timeout(for_s):
                async for message in client.messages:
                    payload = message.payload if isinstance(message.payload, bytes) else b""
                    log.add(Heard(message.topic.value, payload, time.time_ns(), message.qos, bool(message.retain)))
        except TimeoutError:
            pass
        finally:
            progress.cancel()


async def _progress(begin_s: float, tell: Callable[[float], None]) -> None:
    while True:
        tell(time.monotonic() - begin_s)
        await asyncio.sleep(0.1)
