"""Questions to InfluxDB over HTTP: named ones in InfluxQL, which 1.x, 2.x and 3.x all answer on /query.

2.x maps a bucket to a database of its name (`tocsin aggregator init` makes the mapping where it is missing). A
raw text may be in the languages that a version speaks; one that would change something is refused here, since 1.x
carries out a DROP sent by GET.
"""

from collections.abc import Callable

import orjson

from aggregator.adapters.http import Answer, Http
from aggregator.adapters.store_influx1 import connect
from aggregator.config import Influx1, Influx2, Influx3
from aggregator.core import answers
from aggregator.core.dialects import REFUSALS, influxql
from aggregator.core.select import Select
from aggregator.core.views import Row
from aggregator.ports import RetryLater, StoreMisconfigured

# What is wrong with the database or our rights, not with the text; 1.x says it in a 200.
_FAULTS = ("not found:", "not authorized", "authorization", "unable to parse authentication", "max-select-")
# What 3.x says of a text that it cannot plan, as a failure of its own.
_NOT_UNDERSTOOD = ("planning", "Parser", "SQL error", "Schema error", "not implemented", "unsupported")


class InfluxReader:
    """Fulfils ports.Reader. `languages`: what asks in each that the server speaks, the first one by default."""

    def __init__(self, http: Http, database: str) -> None:
        self._http = http
        self._database = database
        self.languages: dict[str, Callable[[str], list[Row]]] = {"influxql": self._influxql}

    @classmethod
    def of_influx1(cls, config: Influx1) -> "InfluxReader":
        """With name and password."""
        return cls(connect(config), config.database)

    @classmethod
    def of_influx2(cls, config: Influx2) -> "InfluxReader":
        """With a token; speaks Flux as well."""
        headers = {"Content-Type": "application/json"}  # of Flux; a GET has no content
        if token := config.token():
            headers["Authorization"] = f"Token {token}"
        reader = cls(Http(config.url, headers, config.timeout_s, config.ca_file), config.bucket)
        reader.languages["flux"] = lambda text: reader._flux(text, config.org)
        return reader

    @classmethod
    def of_influx3(cls, config: Influx3) -> "InfluxReader":
        """With a token; speaks SQL first."""
        headers = {"Authorization": f"Bearer {token}"} if (token := config.token()) else {}
        reader = cls(Http(config.url, headers, config.timeout_s, config.ca_file), config.database)
        reader.languages = {"sql": reader._sql, **reader.languages}
        return reader

    def select(self, question: Select, /) -> list[Row]:
        """See ports.Reader."""
        try:
            return answers.ordered(answers.of_influxql(self._query(influxql.render(question))), question)
        except answers.Incomplete as error:
            raise RetryLater(str(error)) from error
        except ValueError as error:
            raise _misconfigured(str(error)) from error

    def raw(self, text: str, language: str | None = None) -> list[Row]:
        """See ports.Reader."""
        language = language or next(iter(self.languages))
        if language not in self.languages:
            msg = f"this store does not speak {language!r} (allowed: {', '.join(self.languages)})"
            raise ValueError(msg)
        if refusal := REFUSALS[language](text):
            raise ValueError(refusal)
        return self.languages[language](text)

    def close(self) -> None:
        """Closes idle connections."""
        self._http.close()

    def _influxql(self, text: str) -> list[Row]:
        try:
            return answers.plain(answers.of_influxql(self._query(text)))
        except answers.Incomplete as error:
            raise RetryLater(str(error)) from error
        except ValueError as error:
            if any(fault in str(error) for fault in _FAULTS):
                raise _misconfigured(str(error)) from error
            raise

    def _query(self, text: str) -> bytes:
        fields = {"db": self._database, "epoch": "ns", "chunked": "true", "q": text}
        return _judged(self._http.request("GET", "/query", fields))

    def _sql(self, text: str) -> list[Row]:
        fields = {"db": self._database, "q": text, "format": "json"}
        return answers.of_json(_judged(self._http.request("GET", "/api/v3/query_sql", fields)))

    def _flux(self, text: str, org: str) -> list[Row]:
        dialect = {"header": True, "annotations": ["datatype", "group", "default"]}
        body = orjson.dumps({"query": text, "type": "flux", "dialect": dialect})
        return answers.of_flux(_judged(self._http.request("POST", "/api/v2/query", {"org": org}, body)))


def _judged(answer: Answer) -> bytes:
    """The body of a good answer. Raises RetryLater, StoreMisconfigured, and ValueError when the text is at fault."""
    reason = f"HTTP {answer.status}: {answer.text}"
    if answer.status == 200:
        return answer.body
    if answer.status in {400, 405, 422} or any(words in answer.text for words in _NOT_UNDERSTOOD):
        raise ValueError(answer.text)
    if answer.status in {408, 429} or answer.status >= 500:
        raise RetryLater(reason, answer.after_s)
    raise _misconfigured(reason)


def _misconfigured(reason: str) -> StoreMisconfigured:
    """With the cure where a database, a bucket or the name for it in InfluxQL is missing."""
    cure = "; `tocsin aggregator init` makes it" if "not found" in reason else ""
    return StoreMisconfigured(reason + cure)
