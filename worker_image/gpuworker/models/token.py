"""The hub's token, read from Secrets Manager at the moment it is needed, and kept nowhere."""

from __future__ import annotations

from typing import Any

from gpuworker.contract import ModelSource, error_code
from gpuworker.models import ModelError
from gpuworker.models.hub import secret_for_people

_ABSENT = ("ResourceNotFoundException", "InvalidRequestException")
"""The second is of a secret that is being deleted."""


def read_token(source: ModelSource, secrets: Any) -> str:
    """The token, by boto3's client of Secrets Manager; "" where the source names none. Raises ModelError."""
    from botocore.exceptions import BotoCoreError, ClientError

    if not source.token_secret:
        return ""
    name = secret_for_people(source)
    try:
        answer = secrets.get_secret_value(SecretId=source.token_secret)
    except ClientError as error:
        raise _told(name, error_code(error), error) from error
    except BotoCoreError as error:
        raise ModelError(f"secret {name} cannot be read: {error}", is_final=False) from error
    token = str(answer.get("SecretString") or "").strip()
    if not token:
        raise _without_value(name)
    return token


def _told(name: str, code: str, error: Exception) -> ModelError:
    if code in _ABSENT:
        return _without_value(name)
    if code.startswith("AccessDenied"):
        return ModelError(f"the worker may not read secret {name}: `gpupipe up` gives its role that right")
    return ModelError(f"secret {name} cannot be read: {error}", is_final=False)


def _without_value(name: str) -> ModelError:
    return ModelError(f"secret {name} has no value: set the hub's token with `gpupipe secrets set {name}`")
