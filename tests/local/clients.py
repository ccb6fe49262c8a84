"""boto3 clients of emulators."""

from collections.abc import Callable, Mapping
from typing import Any

import boto3

from gpupipe.local.emulators import Account

Client = Callable[[str], Any]
"""service -> boto3 client"""


def client_of(account: Account, endpoints: Mapping[str, str], service: str) -> Any:
    session: Any = boto3.Session(account.access_key, account.secret_key, region_name=account.region)
    return session.client(service, endpoint_url=endpoints.get(service, endpoints["default"]))
