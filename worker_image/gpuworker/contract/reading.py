"""JSON that somebody else wrote, bounded before it is parsed: size, depth, and one error for whatever is wrong.

Python's parser goes deeper by a call of its own a level, so a message of a hundred thousand brackets raises
RecursionError, which is no ValueError: one such message once stopped all that came with it.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gpuworker.contract.errors import ContractError

MESSAGE_BYTES = 1 << 20
"""SQS's and SNS's own limit of a message."""
DEPTH_MAX = 64
"""Nothing of the contract is deeper than eight."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def read_json(text: str | bytes, *, limit_bytes: int) -> Any:
    """The document. Raises ContractError where it is too large, too deep or not JSON."""
    if len(text) > limit_bytes:
        raise ContractError(f"it is larger than {limit_bytes:,} bytes")
    try:
        words = text.decode() if isinstance(text, bytes) else text
        _require_shallow(words)
        return json.loads(words)
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(error, ContractError):
            raise
        raise ContractError(f"it is not JSON: {error}") from error


def _require_shallow(text: str) -> None:
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise ContractError(f"it is nested deeper than {DEPTH_MAX} levels")
        elif first in "]}":
            depth -= 1
