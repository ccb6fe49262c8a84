"""What the distribution is called that holds both packages: `gpupipe` is another project's on the package index."""

from __future__ import annotations

DISTRIBUTION = "gpupipe-aws"
"""As pyproject.toml has it; command and import stay `gpupipe`."""


def install_command(extra: str = "") -> str:
    """What to type for the distribution, with one of its extras."""
    return f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"
