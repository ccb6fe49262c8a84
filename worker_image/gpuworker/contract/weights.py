"""How weights are named: the configuration is checked by it, and the worker once more, who fetches what it is told."""

from __future__ import annotations

import re

HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
"""A hub's `owner/name`."""
COMMIT = re.compile(r"[0-9a-f]{40}")
"""One commit of its repository."""
