"""The command line: parse, call one function of the library, print. Exit 0: done, 1: an error with its fix, 2: wrong usage."""

from __future__ import annotations

import click

from annotriage import __version__
from annotriage.cli import backups, bench, certificates, diagnosis, look_alikes, quality, reviews, service, training, triage
from annotriage.cli.options import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="annotriage")
def main() -> None:
    """A trained model labels what is familiar, under an error limit that it can prove; people get the rest.

    \b
    In this order: annotriage fit, then annotriage triage. annotriage demo shows both on real digits.
    DATA is an image folder (class/name.png, or flat when unlabelled), a CSV or Parquet manifest (path,label), an
    .npz file (x, y), pictures or Parquet in an object store (s3://bucket/folder), Label Studio tasks or export as
    JSON, or what people labelled in a project of it, as label-studio:3.
    """


for _module in (triage, bench, quality, look_alikes, diagnosis, training, service, reviews, certificates, backups):
    for _command in _module.COMMANDS:
        main.add_command(_command)
