"""One DynamoDB table by its low-level client: rows as plain values, conditions as answers, writes in bulk."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

Key = tuple[str, str]
Row = dict[str, Any]

TRANSACTION_MAX = 100
BATCH_GET_MAX = 100
ATTEMPTS = 12
SORT_KEY_MAX_BYTES = 1024


def to_wire(value: Any) -> dict[str, Any]:
    """A plain value in DynamoDB's typed form."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": str(value)}
    if isinstance(value, int | float):
        return {"N": repr(value)}
    if isinstance(value, Mapping):
        return {"M": {name: to_wire(part) for name, part in value.items()}}
    return {"L": [to_wire(part) for part in value]}


def from_wire(value: Mapping[str, Any]) -> Any:
    """The plain value of DynamoDB's typed form."""
    ((kind, inner),) = value.items()
    if kind == "N":
        return int(inner) if inner.lstrip("-").isdecimal() else float(inner)
    if kind == "M":
        return row_from_wire(inner)
    if kind == "L":
        return [from_wire(part) for part in inner]
    return None if kind == "NULL" else inner


def row_from_wire(item: Mapping[str, Any]) -> Row:
    return {name: from_wire(value) for name, value in item.items()}


@dataclass(frozen=True, kw_only=True)
class Write:
    """One conditional write. `where` and `update` name attributes `#like_this` and values `:like_this`."""

    key: Key
    put: Mapping[str, Any] | None = None
    """The whole row."""
    update: str = ""
    delete: bool = False
    where: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    def request(self, table: str) -> dict[str, Any]:
        """Arguments of PutItem, UpdateItem or DeleteItem."""
        request: dict[str, Any] = {"TableName": table}
        if self.put is not None:
            request["Item"] = {name: to_wire(value) for name, value in {**_key(self.key), **self.put}.items()}
        else:
            request["Key"] = {name: to_wire(value) for name, value in _key(self.key).items()}
        if self.update:
            request["UpdateExpression"] = self.update
        if self.where:
            request["ConditionExpression"] = self.where
        names = set(re.findall(r"#(\w+)", f"{self.where} {self.update}"))
        if names:
            request["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
        if self.values:
            request["ExpressionAttributeValues"] = {f":{name}": to_wire(part) for name, part in self.values.items()}
        return request

    def in_transaction(self, table: str) -> dict[str, Any]:
        verb = "Put" if self.put is not None else "Delete" if self.delete else "Update"
        return {verb: self.request(table)}


ABSENT = "attribute_not_exists(pk)"
EXISTS = "attribute_exists(pk)"


def setting(fields: Mapping[str, Any], *more: str) -> str:
    """An update expression that sets `fields` to the values of the same names."""
    return " ".join(["SET " + ", ".join(f"#{name} = :{name}" for name in fields), *more])


class Table:
    """Reads and conditional writes of one table."""

    def __init__(self, client: Any, table: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    # --- reading, always consistent ---

    def _get(self, key: Key) -> Row | None:
        wire = {name: to_wire(value) for name, value in _key(key).items()}
        answer = self._client.get_item(TableName=self._table, Key=wire, ConsistentRead=True)
        return row_from_wire(answer["Item"]) if "Item" in answer else None

    def _get_many(self, keys: Iterable[Key]) -> dict[Key, Row]:
        """The rows that exist, by key."""
        rows: dict[Key, Row] = {}
        for chunk in chunks(dict.fromkeys(keys), BATCH_GET_MAX):
            wanted: Any = [{name: to_wire(value) for name, value in _key(key).items()} for key in chunk]
            for pause_s in _pauses():
                request = {self._table: {"Keys": wanted, "ConsistentRead": True}}
                answer = self._client.batch_get_item(RequestItems=request)
                found = map(row_from_wire, answer["Responses"].get(self._table, ()))
                rows.update({(row["pk"], row["sk"]): row for row in found})
                wanted = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys")
                if not wanted:
                    break
                time.sleep(pause_s)
            else:
                raise TimeoutError(f"DynamoDB left {len(wanted)} rows of {self._table} unread; it is throttling")
        return rows

    def _query(
        self,
        pk: str,
        prefix: str = "",
        *,
        newest_first: bool = False,
        page: int | None = None,
        only: Sequence[str] = (),
    ) -> Iterator[Row]:
        """Rows of a partition in the order of their sort key, a page at a time; `only` names the attributes wanted."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk" + (" AND begins_with(sk, :sk)" if prefix else ""),
            "ExpressionAttributeValues": {":pk": to_wire(pk), **({":sk": to_wire(prefix)} if prefix else {})},
            "ConsistentRead": True,
            "ScanIndexForward": not newest_first,
        }
        if page:
            request["Limit"] = page
        if only:
            request["ProjectionExpression"] = ", ".join(f"#{name}" for name in only)
            request["ExpressionAttributeNames"] = {f"#{name}": name for name in only}
        while True:
            answer = self._client.query(**request)
            yield from map(row_from_wire, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    # --- writing ---

    def _write(self, write: Write) -> Row | None:
        """Do it; the row as it is now (of a put or delete: empty), or None where the condition did not hold."""
        request = write.request(self._table)
        try:
            if write.put is not None:
                self._client.put_item(**request)
            elif write.delete:
                self._client.delete_item(**request)
            else:
                answer = self._client.update_item(**request, ReturnValues="ALL_NEW")
                return row_from_wire(answer["Attributes"])
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return {}

    def _write_together(self, *writes: Write) -> bool:
        """All of them or none; False where a condition did not hold."""
        return not self._refused(writes)

    def _write_each(self, writes: Iterable[Write]) -> set[Key]:
        """Each on its own condition, many at a time; the keys of those whose condition did not hold."""
        # A transaction is the only bulk write with conditions. It fails as a whole and says which failed: leave those
        # out and try the rest again.
        refused: set[Key] = set()
        for chunk in chunks(writes, TRANSACTION_MAX):
            while chunk and (failed := self._refused(chunk)):
                refused |= failed
                chunk = [write for write in chunk if write.key not in failed]
        return refused

    def _refused(self, writes: Sequence[Write]) -> set[Key]:
        """Try a transaction: the keys whose conditions did not hold; empty when it was done."""
        items = [write.in_transaction(self._table) for write in writes]
        for pause_s in _pauses():
            try:
                self._client.transact_write_items(TransactItems=items)
                return set()
            except self._client.exceptions.TransactionCanceledException as error:
                reasons = [reason.get("Code") for reason in error.response.get("CancellationReasons", ())]
                failed = {w.key for w, code in zip(writes, reasons, strict=False) if code == "ConditionalCheckFailed"}
                if failed:
                    return failed
                if not _PASSING.intersection(reasons):
                    raise
            except self._client.exceptions.TransactionInProgressException:
                pass
            time.sleep(pause_s)
        raise TimeoutError(f"DynamoDB did not take {len(writes)} writes to {self._table}; it is throttling")


_PASSING = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}


def _key(key: Key) -> dict[str, str]:
    return {"pk": key[0], "sk": key[1]}


def _pauses() -> Iterator[float]:
    """Seconds to wait after each of a bounded number of attempts: growing, and random so that rivals part."""
    for attempt in range(ATTEMPTS):
        yield random.uniform(0, min(5.0, 0.05 * 2**attempt))


def chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """`values` in lists of at most `size`."""
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk
