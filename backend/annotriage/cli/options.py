"""What commands share: options made from the settings tables, errors as messages, figures as JSON."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import click

from annotriage.errors import AnnotriageError, StoreError
from annotriage.progress import Progress, bars, interruptible, silent
from annotriage.settings import SERVICE_SETTINGS, SETTINGS, ServiceSettings, Settings

if TYPE_CHECKING:
    from annotriage.engine.reference import Reference
    from annotriage.service.operations.process import Process

F = TypeVar("F", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
LONG = 60  # characters of a text that is not said twice
SERVICE_FILE = Path("annotriage.toml")  # the service's settings, if it lies in the current folder
_CONFIG = "TOML file with the service's settings; ANNOTRIAGE_<NAME> variables override it.  [annotriage.toml, if there is one]"
_TYPES = get_type_hints(Settings) | get_type_hints(ServiceSettings)


class Group(click.Group):
    """Turns an error that a user can mend into its message and exit status 1."""

    def invoke(self, context: click.Context) -> Any:
        """As click does, with the errors of annotriage printed."""
        try:
            return super().invoke(context)
        except AnnotriageError as error:
            click.echo(f"Error: {error}", err=True)
            context.exit(1)
        except KeyboardInterrupt:
            click.echo("Stopped; nothing half-written was left behind.", err=True)
            context.exit(1)
        except Exception as error:
            databases = sys.modules.get("sqlalchemy.exc")  # whoever opened a database has loaded it
            if databases is None or not isinstance(error, databases.OperationalError):
                raise
            click.echo(f"Error: the database failed ({error.orig}); is it running, and is there room on its disk?", err=True)
            context.exit(1)


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def setting_options(*, run_only: bool) -> Callable[[F], F]:
    """An option for each setting of the engine; run_only: those that may change after a reference was fitted."""
    fields = [field for field in SETTINGS if field.metadata["run"] or not run_only]
    return functools.partial(_with_options, fields, "as fitted, else " if run_only else "")


def service_options(command: F) -> F:
    """--config, and an option for each setting of the service that is no secret: those come from the file or the environment."""
    command = _with_options([field for field in SERVICE_SETTINGS if not field.metadata["secret"]], "", command)
    return config_option(command)


reference_option = click.option("--reference", "reference_path", type=PATH, required=True, help="Folder of the reference.")
model_option = click.option("--model", "model_path", type=PATH, help="The model spec, if it has moved since the reference was fitted.")
labeling_config_option = click.option("--labeling-config", type=PATH, help="Label Studio's labeling config (XML), to read its files.")
replace_option = click.option("--replace", "replace_existing", is_flag=True, help="Replace the results in --out.")
config_option = click.option("--config", type=PATH, help=_CONFIG)
project_option = click.option("--project", required=True, help="The project's id in the labeling tool.")


def config_file(config: Path | None) -> Path | None:
    """The file that --config names, else annotriage.toml if it lies in the current folder."""
    return SERVICE_FILE if config is None and SERVICE_FILE.is_file() else config


def service_settings(config: Path | None, options: dict[str, Any]) -> ServiceSettings:
    """The settings that `service_options` named. Raises SettingError."""
    return ServiceSettings.load(config_file(config), given=options)


def run_settings(config: Path | None, options: dict[str, Any], fitted: Settings) -> Settings:
    """The settings of a run on a reference that was fitted with others; those that cannot change any more are named if asked for."""
    for sentence in Settings.load(config, given=options).fixed_against(fitted):
        click.echo(f"Note: {sentence}", err=True)
    return Settings.load(config, given=options, fitted=fitted)


@contextmanager
def service_process(config: Path | None, options: dict[str, Any] | None = None) -> Iterator[Process]:
    """A command as a process of the service, beside those that run. Raises SettingError, StoreError."""
    from annotriage.service.operations.process import Process
    from annotriage.store import DATABASE_TROUBLE
    from annotriage.store.database import cause

    process = Process(service_settings(config, options or {}), "command", config_file(config))
    try:
        yield process
        process.leave()
    except StoreError:
        raise
    except DATABASE_TROUBLE as error:
        raise StoreError(f"the database failed ({cause(error)}); is it running, and is there room on its disk?") from error
    finally:
        process.close()


_common = [
    click.option("--config", type=PATH, help="TOML file with settings; ANNOTRIAGE_<NAME> variables and options override it."),
    click.option("--quiet", is_flag=True, help="No progress bars."),
    click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON."),
]


def common_options(command: F) -> F:
    """--config, --quiet and --json."""
    return functools.reduce(lambda decorated, option: option(decorated), reversed(_common), command)


@dataclass(frozen=True)
class Run:
    """What a command that reads DATA with a reference was asked for. how: what each such function of the library takes by name."""

    reference: Reference
    data: str
    as_json: bool
    how: Mapping[str, Any]


def reads_data(command: Callable[..., None]) -> Callable[..., None]:
    """The last options of a command that reads DATA with a reference: settings of the run, --config, --quiet, --json.

    The command also has --reference, --data, --model and --labeling-config, gets a `Run` for all these, and its own options by name.
    """

    @setting_options(run_only=True)
    @common_options
    @functools.wraps(command)
    def with_run(
        reference_path: Path,
        data: str,
        model_path: Path | None,
        labeling_config: Path | None,
        config: Path | None,
        quiet: bool,
        as_json: bool,
        **options: Any,
    ) -> None:
        from annotriage.engine.reference import Reference

        reference = Reference.load(reference_path)
        given = {field.name: options.pop(field.name) for field in SETTINGS if field.metadata["run"]}
        how = {
            "model": model_path,
            "settings": run_settings(config, given, reference.settings),
            "labeling_config": labeling_config,
            "server": service_settings(config, {}),
            "progress": progress_bars(quiet),
        }
        command(Run(reference, data, as_json, how), **options)

    return with_run


def progress_bars(quiet: bool) -> Progress:
    """Bars that Ctrl-C stops, or none."""
    return interruptible(silent if quiet else bars)


def said_once() -> Callable[[str], str]:
    """A text as it is to be printed: a long one that was said before is not said again."""
    said: set[str] = set()

    def once(text: str) -> str:
        if text in said and len(text) > LONG:
            indent = text[: len(text) - len(text.lstrip())]
            return f"{indent}as above: {text.strip()[:LONG]}..."
        said.add(text)
        return text

    return once


def print_json(value: Any) -> None:
    """Figures for other programs."""
    from annotriage.report.output import json_text

    sys.stdout.write(json_text(value) + "\n")


def _with_options(fields: Any, instead: str, command: F) -> F:
    for field in reversed(fields):
        kind = _TYPES[field.name]
        default = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
        option = click.option(
            f"--{field.name.replace('_', '-')}",
            field.name,
            type=click.Choice(field.metadata["choices"]) if field.metadata["choices"] else kind if kind in (int, float) else str,
            help=f"{field.metadata['help']}  [{instead}{'none' if default == '' else default}]",
        )
        command = option(command)
    return command
