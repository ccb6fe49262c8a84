"""boto3 clients of emulators."""

from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.config import Config

from gpupipe.local.emulators import Account

Client = Callable[[str], Any]
"""service -> boto3 client"""


def client_of(account: Account, endpoints: Mapping[str, str], service: str, *, attempts: int = 5) -> Any:
    session: Any = boto3.Session(account.access_key, account.secret_key, region_name=account.region)
    config = Config(retries={"total_max_attempts": attempts})
    return session.client(service, endpoint_url=endpoints.get(service, endpoints["default"]), config=config)
