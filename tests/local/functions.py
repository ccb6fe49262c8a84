"""Puts small Lambda functions into the emulator."""

import io
import zipfile
from typing import Any


def deploy(client: Any, account_id: str, name: str, code: str) -> str:
    """Create a Python function from source with a `handler`; returns its ARN."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", code)
    answer = client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.13",
        Role=f"arn:aws:iam::{account_id}:role/any",
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
        Timeout=20,
    )
    return str(answer["FunctionArn"])


def logged(client: Any, function: str, word: str) -> list[str]:
    """The lines with `word` that a function has printed."""
    logs = client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{function}", filterPattern=word)["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return [event["message"].strip() for event in events]
