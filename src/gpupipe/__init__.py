"""Run GPU image work in your own AWS account: one TOML file, five commands, nothing left running."""

__version__ = "0.1.0"
