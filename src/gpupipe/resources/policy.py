"""Policy documents in one form to compare, and single statements in documents that others may share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "2012-10-17"
TLS_SID = "TlsOnly"

Document = dict[str, Any]


def document(statements: Sequence[Mapping[str, Any]]) -> Document:
    """A policy of these statements."""
    return {"Version": VERSION, "Statement": [dict(statement) for statement in statements]}


def tls_only(actions: str, resources: Sequence[str]) -> Document:
    """The statement of a resource's policy that refuses every call that is not encrypted on its way."""
    return {
        "Sid": TLS_SID,
        "Effect": "Deny",
        "Principal": "*",
        "Action": actions,
        "Resource": list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def canonical(policy: str | Mapping[str, Any] | None) -> Document:
    """`policy` with statements and lists in order and single values as lists; {} for none.

    AWS hands policies back reordered, and with lists of one collapsed; two that mean the same are equal here.
    """
    parsed = parse(policy)
    return {**parsed, "Statement": _ordered(map(canonical_statement, _statements(parsed)))} if parsed else {}


def canonical_statement(statement: Mapping[str, Any]) -> Document:
    """One statement in the form of `canonical`."""
    lists = {"Action", "NotAction", "Resource", "NotResource"}
    result: Document = {key: _as_list(value) if key in lists else value for key, value in statement.items()}
    for key in {"Principal", "NotPrincipal"} & result.keys():
        principal = {"AWS": "*"} if result[key] == "*" else result[key]
        result[key] = {who: _as_list(value) for who, value in principal.items()}
    if "Condition" in result:
        result["Condition"] = {
            operator: {name: _as_list(value) for name, value in tests.items()}
            for operator, tests in result["Condition"].items()
        }
    return result


def statement(policy: str | Mapping[str, Any] | None, sid: str) -> Document:
    """The statement called `sid` in canonical form; {} where there is none."""
    return next((canonical_statement(one) for one in _statements(parse(policy)) if one.get("Sid") == sid), {})


def with_statement(policy: str | Mapping[str, Any] | None, added: Mapping[str, Any]) -> Document:
    """`policy` with this statement in the place of the one of its Sid; the others stay."""
    return document([*_statements(without_statement(policy, added["Sid"])), added])


def without_statement(policy: str | Mapping[str, Any] | None, sid: str) -> Document:
    """`policy` without the statement called `sid`; {} when nothing is left."""
    kept = [one for one in _statements(parse(policy)) if one.get("Sid") != sid]
    return {**parse(policy), "Statement": kept} if kept else {}


def parse(policy: str | Mapping[str, Any] | None) -> Document:
    """The document of a policy that comes as JSON text, parsed, or not at all."""
    return dict(json.loads(policy) if isinstance(policy, str) and policy else policy or {})


def _statements(parsed: Mapping[str, Any]) -> list[Document]:
    statements = parsed.get("Statement", [])
    return [dict(statements)] if isinstance(statements, Mapping) else list(statements)


def _ordered(statements: Any) -> list[Document]:
    return sorted(statements, key=lambda one: json.dumps(one, sort_keys=True))


def _as_list(value: Any) -> list[str]:
    return sorted(str(one) for one in ([value] if isinstance(value, str | bool | int) else value))
