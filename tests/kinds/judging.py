"""A role judged as IAM would: is this action allowed on that resource?"""

from __future__ import annotations

from fnmatch import fnmatchcase

from gpupipe.resources.role import Role, Statement


def allows(role: Role, action: str, resource: str, **context: str) -> bool:
    return any(_matches(statement, action, resource, context) for statement in role.statements)


def _matches(statement: Statement, action: str, resource: str, context: dict[str, str]) -> bool:
    if action not in statement.actions or not any(fnmatchcase(resource, one) for one in statement.resources):
        return False
    assert set(statement.conditions) <= {"StringEquals"}
    for key, expected in statement.conditions.get("StringEquals", {}).items():
        values = [expected] if isinstance(expected, str) else expected
        if context.get(key) not in values:
            return False
    return True
