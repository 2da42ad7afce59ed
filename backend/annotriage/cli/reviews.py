"""Commands on what people answered: renewing the promise, taking machine labels back."""

from __future__ import annotations

import click

COMMANDS: tuple[click.Command, ...] = ()
