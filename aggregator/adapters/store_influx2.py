"""Rows into InfluxDB 2.x, Cloud and 3.x through the client library, by /api/v2/write.

By its service for single writes on purpose: the library's batching mode gives up after three minutes and loses what
it holds when the process ends, and its own compression is the slowest one. Statuses are judged here, because the
versions disagree about 400: 3 Core answers so even when its own log or object store fails.
"""

import urllib3
from influxdb_client import InfluxDBClient, WritePrecision
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService

from aggregator.adapters.http import Answer, message_of, no_answer, retry_after, without, wrong_secret
from aggregator.adapters.sending import Packed, judge, prepare
from aggregator.config import Influx2
from aggregator.core.bisect import Doubted, Rejected
from aggregator.core.points import Points
from aggregator.ports import RetryLater, Write


class Influx2Store:
    """Fulfils ports.Store."""

    def __init__(self, config: Influx2) -> None:
        self._config = config
        self._token = config.token() or ""
        self._client = connect(config, self._token)
        self._service = WriteService(self._client.api_client)

    def prepare(self, rows: Points) -> Write:
        """See ports.Store."""
        return prepare(rows, self._send)

    def close(self) -> None:
        """Closes connections; nothing waits in them."""
        self._client.close()

    def _send(self, part: Packed) -> Rejected | Doubted | None:
        return judge(self._post(part.body), part)

    def _post(self, body: bytes) -> Answer:
        try:
            _, status, _ = self._service.post_write_with_http_info(
                self._config.org,
                self._config.bucket,
                body,
                content_encoding="gzip",
                content_type="text/plain; charset=utf-8",
                precision=WritePrecision.NS,
            )
        except ApiException as error:
            if not error.status:  # so the library tells a failure of TLS
                raise no_answer(self._config.url, error.__context__ or error) from error
            text = without([self._token] if self._token else [], message_of(error.body))
            return Answer(int(error.status), text, retry_after(error.headers or {}))
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(self._config.url, error) from error
        except UnicodeDecodeError as error:  # what stands between us and the database answers in other letters
            raise RetryLater(f"an answer that is no UTF-8: {error.reason}") from error
        except ValueError:
            raise wrong_secret() from None
        return Answer(int(status), "", None)


def connect(config: Influx2, token: str) -> InfluxDBClient:
    """The client that the store and the keeper of 2.x use."""
    return InfluxDBClient(
        url=config.url,
        token=token,
        org=config.org,
        timeout=round(config.timeout_s * 1000),
        ssl_ca_cert=str(config.ca_file) if config.ca_file else None,
        connection_pool_maxsize=config.connections,
    )
