"""Rows into InfluxDB 2.x and 3.x through the client library's synchronous writes.

Synchronous and in bytes on purpose: the library's batching mode gives up after three minutes, and loses what it
holds when the process ends. Its own map of statuses, because the versions disagree about 400.
"""

from collections.abc import Sequence

import urllib3
from influxdb_client import InfluxDBClient, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from aggregator.adapters.http import Answer, judge, message_of, names_bad_rows, no_answer, retry_after
from aggregator.config import Influx2
from aggregator.core.batching import MAX_ROWS
from aggregator.core.bisect import Rejected, isolate
from aggregator.core.points import Points
from aggregator.ports import RetryLater
from models.contract.batch import Refusal


class Influx2Store:
    """Fulfils ports.Store."""

    def __init__(self, config: Influx2) -> None:
        self._config = config
        self._client = InfluxDBClient(
            url=config.url,
            token=config.token() or "",
            org=config.org,
            timeout=round(config.timeout_s * 1000),
            ssl_ca_cert=str(config.ca_file) if config.ca_file else None,
        )
        self._api = self._client.write_api(write_options=SYNCHRONOUS)

    def write(self, rows: Points) -> list[Refusal]:
        """Returns the rows that the server will never take. Raises RetryLater, StoreMisconfigured."""
        lines = rows.lines()
        return [
            refused
            for start in range(0, len(lines), MAX_ROWS)
            for refused in isolate(lines[start : start + MAX_ROWS], self._send)
        ]

    def close(self) -> None:
        """Closes connections; nothing waits in a synchronous client."""
        self._api.close()
        self._client.close()

    def _send(self, lines: Sequence[bytes]) -> Rejected | None:
        try:
            self._api.write(self._config.bucket, self._config.org, b"\n".join(lines), write_precision=WritePrecision.NS)
        except ApiException as error:
            after_s = retry_after(error.headers.get("Retry-After") if error.headers else None)
            answer = Answer(int(error.status), message_of(error.body), after_s)
            # 3 Core answers 400 also when its own log or object store fails, and when it is asked too often
            if answer.status == 400 and not names_bad_rows(answer.text):
                msg = f"HTTP 400: {answer.text}"
                raise RetryLater(msg, after_s) from error
            return judge(answer, lines)
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(self._config.url, error) from error
        return None
