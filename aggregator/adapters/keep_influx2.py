"""Sets up InfluxDB 2.x and Cloud: buckets with their retention, their names for InfluxQL, a task for the means.

InfluxQL on /query asks for databases; a bucket is one once it is mapped (newer servers do so by themselves). The
means are in a bucket of their own, because a bucket has one retention.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import orjson
import urllib3
from influxdb_client import (
    BucketRetentionRules,
    DBRPCreate,
    DBRPsService,
    InfluxDBClient,
    PatchBucketRequest,
    PostBucketRequest,
    TaskCreateRequest,
    TaskUpdateRequest,
)
from influxdb_client.client.flux_csv_parser import FluxQueryException
from influxdb_client.rest import ApiException

from aggregator.adapters.http import message_of, no_answer, retry_after, without, wrong_secret
from aggregator.adapters.store_influx2 import connect
from aggregator.config import Influx2, Retention
from aggregator.core import minutes
from aggregator.core.minutes_flux import downsampling, task
from aggregator.ports import RetryLater, Step, StoreMisconfigured

_PAGE = 100  # the most that a server gives at once
_RETENTION_POLICY = "autogen"  # InfluxQL wants one; a bucket has none


class _Plan(NamedTuple):
    step: Step
    do: Callable[[], object]


class Influx2Keeper:
    """Fulfils ports.Keeper."""

    def __init__(self, config: Influx2, retention: Retention) -> None:
        self._config = config
        self._timeout_s = config.timeout_s
        self._token = config.token() or ""
        self._client = connect(config, self._token)
        self._raw, self._means = config.bucket, f"{config.bucket}_minutes"
        self._raw_s = minutes.retention_s(retention.raw_d)
        self._minutes_s = minutes.retention_s(retention.minutes_d)

    def plan(self) -> list[Step]:
        """See ports.Keeper."""
        return [plan.step for plan in self._plans()]

    def apply(self, step: Step) -> None:
        """See ports.Keeper."""
        for plan in self._plans():
            if plan.step.statement == step.statement and not plan.step.is_done:
                plan.do()

    def downsample(self, since_ns: int, until_ns: int) -> None:
        """See ports.Keeper."""
        api = self._client.query_api()
        since_ns = minutes.kept(since_ns, time.time_ns(), self._minutes_s)
        for start, end in minutes.pieces(since_ns, until_ns, self._timeout_s, time.monotonic):
            flux = downsampling(self._raw, self._means, f"time(v: {start})", f"time(v: {end})")
            with self._asking("query", f"read and write in the buckets {self._raw} and {self._means}"):
                api.query(flux, org=self._config.org)

    def close(self) -> None:
        """Closes connections."""
        self._client.close()

    def _plans(self) -> list[_Plan]:
        org_id = self._org_id()
        with self._asking("buckets", "read:buckets"):
            buckets = self._buckets(org_id)
        return [
            self._bucket(org_id, self._raw, "readings and all other rows", self._raw_s, buckets.get(self._raw)),
            self._bucket(org_id, self._means, "one-minute means", self._minutes_s, buckets.get(self._means)),
            *(self._mapping(org_id, name, buckets.get(name)) for name in (self._raw, self._means)),
            self._task(org_id),
        ]

    def _org_id(self) -> str:
        org = self._config.org
        with self._asking("orgs", "read:orgs"):
            found = self._client.organizations_api().find_organizations(**({"org": org} if org else {}))
            ids: list[str] = [one.id for one in found if org in {"", one.name, one.id}]
        if len(ids) != 1:
            msg = f"store.org: {len(ids)} organizations {f'are called {org!r}' if org else 'are there: name one'}"
            raise StoreMisconfigured(f"{msg} (or the token may not see it: permission read:orgs)")
        return ids[0]

    def _buckets(self, org_id: str) -> dict[str, Any]:
        """All by name. A server asked for one that is not there may answer as if it had no buckets at all."""
        api = self._client.buckets_api()
        found: dict[str, Any] = {}
        after: dict[str, str] = {}
        while page := api.find_buckets(org_id=org_id, limit=_PAGE, **after).buckets:
            found |= {bucket.name: bucket for bucket in page}
            if len(page) < _PAGE:
                break
            after = {"after": page[-1].id}
        return found

    def _bucket(self, org_id: str, name: str, rows: str, wanted_s: int, found: Any) -> _Plan:  # noqa: ANN401
        what = f'bucket "{name}": {rows} are kept {"for " if wanted_s else ""}{minutes.words(wanted_s)}'
        api = self._client.buckets_api()._buckets_service  # noqa: SLF001 - the public call cannot change a retention alone
        if found is None:
            rules = [_rule(wanted_s)] if wanted_s else []
            body = PostBucketRequest(org_id=org_id, name=name, retention_rules=rules)
            do = partial(api.post_buckets, post_bucket_request=body)
            statement = f"POST /api/v2/buckets {_shown(body)}"
            return _Plan(Step(what, statement, is_done=False), self._doing(do, "buckets", "write:buckets"))
        found_s = (found.retention_rules[0].every_seconds or 0) if found.retention_rules else 0
        if wanted_s and (found_s == 0 or found_s > wanted_s):
            what += f" (until now {minutes.words(found_s)}: what is older is deleted)"
        # the shards of a long retention do not fit a short one: 0 = as it suits. Cloud has no such setting.
        has_shards = bool(found.retention_rules) and found.retention_rules[0].shard_group_duration_seconds is not None
        change = PatchBucketRequest(retention_rules=[_rule(wanted_s, shard_s=0 if has_shards else None)])
        do = partial(api.patch_buckets_id, found.id, patch_bucket_request=change)
        statement = f"PATCH /api/v2/buckets/{found.id} {_shown(change)}"
        return _Plan(Step(what, statement, is_done=found_s == wanted_s), self._doing(do, "buckets", "write:buckets"))

    def _mapping(self, org_id: str, name: str, bucket: Any) -> _Plan:  # noqa: ANN401
        api = DBRPsService(self._client.api_client)
        is_done = False
        if bucket is not None:
            with self._asking("dbrps", "read:dbrp"):
                found = api.get_dbr_ps(org_id=org_id, db=name).content or []
            is_done = any(one.bucket_id == bucket.id and one.default for one in found)
        body = DBRPCreate(
            org_id=org_id,
            bucket_id=bucket.id if bucket else "",
            database=name,
            retention_policy=_RETENTION_POLICY,
            default=True,
        )
        # the bucket may be made by a step before this one, and has its id only then
        statement = f"POST /api/v2/dbrps {_shown(body, bucketID=f'of {name}')}"
        do = self._doing(partial(api.post_dbrp, dbrp_create=body), "dbrps", "write:dbrp")
        return _Plan(Step(f'database "{name}" for InfluxQL', statement, is_done=is_done), do)

    def _task(self, org_id: str) -> _Plan:
        name = f"{minutes.MEASUREMENT} of {self._raw}"
        flux = task(name, self._raw, self._means)
        api = self._client.tasks_api()
        with self._asking("tasks", "read:tasks"):
            found = next((one for one in api.find_tasks(name=name, org_id=org_id) if one.name == name), None)
        what = f'task "{name}"'
        if found is None:
            body = TaskCreateRequest(org_id=org_id, flux=flux, status="active")
            do = partial(api.create_task, task_create_request=body)
            return _Plan(Step(what, flux, is_done=False), self._doing(do, "tasks", "write:tasks"))
        is_done = found.flux.split() == flux.split() and found.status == "active"
        what += "" if is_done else " (in place of another of this name)"
        do = partial(api.update_task_request, found.id, TaskUpdateRequest(flux=flux, status="active"))
        return _Plan(Step(what, flux, is_done=is_done), self._doing(do, "tasks", "write:tasks"))

    def _doing(self, do: Callable[[], object], place: str, right: str) -> Callable[[], object]:
        def asked() -> object:
            with self._asking(place, right):
                return do()

        return asked

    @contextmanager
    def _asking(self, place: str, right: str) -> Iterator[None]:
        """The client's errors as ours. Raises RetryLater, StoreMisconfigured."""
        try:
            yield
        except ApiException as error:
            raise self._fault(error, place, right) from error
        except FluxQueryException as error:
            raise StoreMisconfigured(error.message) from error
        except urllib3.exceptions.HTTPError as error:
            raise no_answer(self._config.url, error) from error
        except UnicodeEncodeError:  # its text holds the header
            raise wrong_secret() from None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # so the library fails on others
            raise StoreMisconfigured("this is no answer of InfluxDB 2: does the url lead to it?") from error

    def _fault(self, error: Any, place: str, right: str) -> RetryLater | StoreMisconfigured:  # noqa: ANN401
        if not error.status:  # so the library tells a failure of TLS
            return no_answer(self._config.url, error.__context__ or error)
        status = int(error.status)
        reason = f"HTTP {status}: {without([self._token] if self._token else [], message_of(error.body))}"
        if status in {408, 429} or status >= 500:
            return RetryLater(reason, retry_after(error.headers or {}))
        if status in {401, 403}:
            return StoreMisconfigured(f"{reason} (the token lacks {right}; an all-access token has all permissions)")
        if status == 422 and "already exists" in reason:
            return StoreMisconfigured(f"{reason} (it is there but the token does not see it: permission read:{place})")
        if status in {404, 405} and not _is_of_2x(error.body):
            return StoreMisconfigured(
                f'{reason} (this server has no /api/v2/{place}: set an InfluxDB 3 up with store.kind = "influx3",'
                " Cloud Serverless in its own console)"
            )
        return StoreMisconfigured(reason)


def _rule(every_s: int, shard_s: int | None = None) -> Any:  # noqa: ANN401 - the client has no types
    return BucketRetentionRules(type="expire", every_seconds=every_s, shard_group_duration_seconds=shard_s)


def _is_of_2x(body: bytes | str | None) -> bool:
    """Whether an error was made by the API itself, not by a server that does not have it."""
    try:
        content = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return False
    return isinstance(content, dict) and "code" in content


def _shown(body: Any, **instead: str) -> str:  # noqa: ANN401
    """A request's body as it is sent, without ids that say nothing to a person."""
    content = InfluxDBClient(url="http://localhost", token="").api_client.sanitize_for_serialization(body)
    content = {key: value for key, value in content.items() if key != "orgID"} | instead
    return orjson.dumps(content).decode()
