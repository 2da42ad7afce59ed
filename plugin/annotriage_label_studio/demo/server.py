"""A real Label Studio on this machine, for the demo and the tests: started, waited for, found again, stopped.

A server belongs to a folder, which holds its database, its log and its account; it outlives the
process that started it (`start`, later `stop`) unless that is a `with` block (`serving`). Nothing here reaches beyond
127.0.0.1: no analytics, no crash reports, no search for newer versions.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotriage.demo.daemon import Daemon, begun, free_port, is_free, last_lines, launching
from annotriage.errors import SettingError, ToolError
from annotriage.progress import Advance, Progress, silent

EMAIL = "annotriage@example.com"
DATABASE, LOG, STATE, FILES = "label_studio.sqlite3", "label-studio.log", "server.json", "files"
INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR")  # no more: Label Studio reads dozens of variables with names like HOST and DEBUG


@dataclass(frozen=True, slots=True)
class Server:
    """A Label Studio that runs here, and its first account, which may do everything.

    token: the account's legacy token. folder/files: what tasks may show as local files.
    """

    url: str
    email: str
    password: str
    token: str
    daemon: Daemon
    folder: Path

    @property
    def log(self) -> Path:
        """What Label Studio wrote: every request, and its troubles."""
        return self.folder / LOG


def start(
    executable: Path,
    folder: Path,
    *,
    port: int | None = None,
    password: str | None = None,
    environment: Mapping[str, str] | None = None,
    progress: Progress = silent,
    seconds: float = 300,
) -> Server:
    """The Label Studio of `folder`: the one that runs there already, else a new one that outlives this process.

    A folder keeps its account and, where it can, its port; `port` fixes it. password: of a new folder's account; random by
    default. environment: further variables for the server. The first start of all makes the database (half a minute), of which
    a copy stays beside the executable; others take 3 s. seconds: how long to wait for each of the two.
    Raises SettingError if the executable is missing or the port taken, ToolError with the end of the log if it does not come up.
    """
    folder = folder.absolute()
    if (found := running(folder)) is not None:
        if port is not None and found.url != _url(port):
            raise SettingError(f"{folder}: a Label Studio runs there already, at {found.url}; stop it first to have it on port {port}")
        _wait(found, seconds, lambda _: None)  # another process may have begun it just now
        return found
    if not executable.is_file():
        raise SettingError(
            f"{executable}: no Label Studio there. In a checkout run `make {executable.parent.parent.name}/stamp`; elsewhere"
            " `pip install label-studio==1.23.2` into a virtual environment of its own, and name its bin/label-studio"
        )
    (folder / FILES).mkdir(parents=True, exist_ok=True)
    before = _state(folder)
    port = _checked_port(port) if port is not None else _last_port(before)
    account = {
        "email": before.get("email", EMAIL),
        "password": before.get("password") or password or secrets.token_urlsafe(9),
        "token": before.get("token") or secrets.token_hex(20),
    }
    variables = _environment(folder, port, account) | dict(environment or {})
    _make_database(executable, folder, variables, progress, seconds)
    command = [str(executable), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with progress("starting Label Studio", None) as advance, begun(command, folder / LOG, variables) as daemon:
        server = Server(_url(port), **account, daemon=daemon, folder=folder)
        _write_state(server)
        _wait(server, seconds, advance)
    return server


def running(folder: Path) -> Server | None:
    """The server that runs in `folder`; None if none does."""
    folder = folder.absolute()
    state = _state(folder)
    if not state:
        return None
    server = Server(**state | {"daemon": Daemon(**state["daemon"])}, folder=folder)
    return server if server.daemon.is_running() else None


def stop(folder: Path) -> bool:
    """End the server of `folder`, which keeps its data; False if none runs there."""
    server = running(folder)
    if server is None:
        return False
    server.daemon.end()
    return True


@contextmanager
def serving(executable: Path, folder: Path, **options: Any) -> Iterator[Server]:
    """`start` with its options, for a block: the server ends with it."""
    try:
        yield start(executable, folder, **options)
    finally:
        stop(folder)


def _wait(server: Server, seconds: float, advance: Advance) -> None:
    asked = time.monotonic()
    ticks = 0
    while not _is_up(server):
        elapsed = time.monotonic() - asked
        if not server.daemon.is_running():
            raise _failure(server.folder, "ended by itself")
        if elapsed > seconds:
            raise _failure(server.folder, f"did not answer at {server.url} after {seconds:g} s")
        advance(int(elapsed) - ticks)
        ticks = int(elapsed)
        time.sleep(0.1)


def _is_up(server: Server) -> bool:
    """Whether this server answers: Label Studio moves to another port when its own is taken meanwhile."""
    import httpx

    try:
        headers = {"Authorization": f"Token {server.token}"}
        answer = httpx.get(f"{server.url}/api/current-user/whoami", headers=headers, timeout=5, trust_env=False)
    except httpx.HTTPError:
        return False
    if answer.status_code == 401:
        raise ToolError(
            f"{server.url} does not know the account of {server.folder / STATE}. Either its database is from another time (remove"
            f" {server.folder} to begin anew), or another server took the port at this moment (try again)"
        )
    return answer.status_code == 200


def _failure(folder: Path, what: str) -> ToolError:
    return ToolError(f"Label Studio {what}. The end of its log, {folder / LOG}:\n{last_lines(folder / LOG)}")


# -- the folder


def _make_database(executable: Path, folder: Path, variables: Mapping[str, str], progress: Progress, seconds: float) -> None:
    """An empty database of this release: hundreds of migrations the first time, afterwards a copy of what they made."""
    if (folder / DATABASE).exists():
        return
    empty = _empty_database(executable)
    if empty is not None and empty.exists():
        shutil.copyfile(empty, folder / DATABASE)
        return
    with progress("making Label Studio's database (half a minute, the first time only)", None) as advance:
        _migrate(executable, folder, variables, seconds, advance)
    if empty is not None:
        with suppress(OSError):  # an environment that is not ours to write in: the next folder makes its own
            empty.parent.mkdir(parents=True, exist_ok=True)
            partial = empty.with_suffix(f".{os.getpid()}")
            shutil.copyfile(folder / DATABASE, partial)
            partial.replace(empty)


def _migrate(executable: Path, folder: Path, variables: Mapping[str, str], seconds: float, advance: Advance) -> None:
    with (folder / LOG).open("ab") as log, launching(executable):  # before it says its version, it brings the database up to date
        process = subprocess.Popen([executable, "version"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables)
    try:
        for _ in range(int(seconds)):
            with suppress(subprocess.TimeoutExpired):
                if process.wait(1):
                    raise _failure(folder, f"could not make its database (exit status {process.returncode})")
                return
            advance(1)
        raise _failure(folder, f"had not made its database after {seconds:g} s")
    finally:
        process.kill()
        process.wait()


def _empty_database(executable: Path) -> Path | None:
    """Where the executable's environment keeps an empty database of the release that is installed in it."""
    environment = executable.resolve().parent.parent
    releases = list(environment.glob("lib/python3*/site-packages/label_studio-*.dist-info"))
    return environment / "share" / "annotriage" / f"{releases[0].stem}.sqlite3" if len(releases) == 1 else None


def _environment(folder: Path, port: int, account: Mapping[str, str]) -> dict[str, str]:
    ours = {
        "BASE_DATA_DIR": folder,
        "HOST": _url(port),
        "USERNAME": account["email"],
        "PASSWORD": account["password"],
        "USER_TOKEN": account["token"],
        "ENABLE_LEGACY_API_TOKEN": "true",
        "ML_BLOCK_LOCAL_IP": "false",  # annotriage answers on a loopback address here
        "SSRF_PROTECTION_ENABLED": "false",
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        "LATEST_VERSION_CHECK": "false",
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": folder / FILES,
        "LOG_LEVEL": "INFO",
    }
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"HOME": str(folder)} | {f"LABEL_STUDIO_{name}": str(value) for name, value in ours.items()}


def _state(folder: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return state


def _write_state(server: Server) -> None:
    partial = server.folder / f"{STATE}.new"
    partial.touch(0o600)
    partial.write_text(json.dumps({name: value for name, value in asdict(server).items() if name != "folder"}, indent=1), "utf-8")
    partial.replace(server.folder / STATE)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _checked_port(port: int) -> int:
    if not is_free(port):
        raise SettingError(f"port {port} is taken on 127.0.0.1; stop what listens there or choose another port")
    return port


def _last_port(state: Mapping[str, Any]) -> int:
    """The port of last time if it is free, so that bookmarks stay good; else any."""
    last = int(str(state.get("url", ":0")).rpartition(":")[2])
    return last if last and is_free(last) else free_port()
