"""Options that several commands have, each with its words once."""

from __future__ import annotations

from typing import Annotated

import typer

from gpupipe.cli import complete

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
OnlyPipeline = Annotated[
    str | None,
    typer.Option(
        "--pipeline",
        metavar="NAME",
        autocompletion=complete.pipelines,
        help="Only this pipeline, with what it needs of the stack.",
    ),
]
