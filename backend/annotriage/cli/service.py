"""Commands on the running service and the projects that it works with."""

from __future__ import annotations

import click

COMMANDS: tuple[click.Command, ...] = ()
