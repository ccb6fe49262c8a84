"""Tells the emulated SageMaker how endpoints are: `ReportEndpoint`, a call that exists in our emulator only."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from gpupipe.errors import TargetError
from gpupipe.local.emulators import Account

_TIMEOUT_S = 10.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on 127.0.0.1


class EndpointReports:
    """Sends reports to moto, signed as every request is."""

    def __init__(self, account: Account, url: str) -> None:
        self._account = account
        self._url = url

    def __call__(self, document: Mapping[str, Any]) -> None:
        """Raises TargetError if the emulator does not take it."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        headers = {"X-Amz-Target": "SageMaker.ReportEndpoint", "Content-Type": "application/x-amz-json-1.1"}
        content = json.dumps(document).encode()
        signed = AWSRequest(method="POST", url=f"{self._url}/", data=content, headers=headers)
        credentials = Credentials(self._account.access_key, self._account.secret_key)
        SigV4Auth(credentials, "sagemaker", self._account.region).add_auth(signed)
        request = urllib.request.Request(f"{self._url}/", data=content, headers=dict(signed.headers), method="POST")
        try:
            with _DIRECT.open(request, timeout=_TIMEOUT_S):
                pass
        except OSError as error:
            name = document["EndpointName"]
            raise TargetError(f"The emulated SageMaker does not take the state of {name}: {error}.") from error
