"""The service as its users run it: `annotriage serve` as processes of its own, set up by commands, killed and started again by tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import requests
from commands import Command
from waiting import PATIENCE

from annotriage.settings import ServiceSettings
from annotriage.store import Store

STARTUP = Path(__file__).parent / "startup"  # where the service finds what UMAP was compiled to

_held: list[socket.socket] = []


class RunningService:
    """A service in a folder of its own, for one Label Studio.

    settings: values for annotriage.toml besides the address and the token of Label Studio, the port and the password. python_path: where
    `serve` finds the code, if not where the tests do; its commands are of the tests' code.
    """

    def __init__(self, folder: Path, label_studio_url: str, token: str, *, python_path: str | None = None, **settings: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        first = os.environ.get("PYTHONPATH", "") if python_path is None else python_path
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (first, str(STARTUP))))}
        self.folder, self.config, self.log = folder, folder / "annotriage.toml", folder / "service.log"
        self.password = "a password of the tests"
        values = {
            "label_studio_url": label_studio_url,
            "label_studio_token": token,
            "port": free_port(),
            "password": self.password,
            "database": f"sqlite:///{folder / 'annotriage.db'}",
            "poll_seconds": 1.0,
        } | settings
        self.config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items()), "utf-8")
        self.settings = ServiceSettings.load(self.config, {})
        self.url = f"http://127.0.0.1:{self.settings.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        assert self._process is not None
        end = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, f"annotriage serve ended\n{self.tail()}"
            assert time.monotonic() < end, f"annotriage serve does not answer\n{self.tail()}"
            time.sleep(0.05)

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "annotriage.cli", "serve", "--config", str(self.config)]
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder, env=self._environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The web process, whose children the others are."""
        assert self._process is not None
        return self._process.pid

    def wait(self) -> int:
        """Wait for its end, which something else brought about; its exit status."""
        assert self._process is not None
        status = self._process.wait(PATIENCE)
        self._process = None
        return status

    def stop(self) -> int:
        """End it in order; its exit status."""
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)
        status = self._process.wait(PATIENCE)
        self._process = None
        return status

    def kill(self) -> None:
        """End all its processes at once, as a power cut would."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process = None

    def command(self, *words: object, check: bool = True) -> str:
        """One of the commands with this service's settings: what it printed."""
        begun = self.begin(*words)
        try:
            said, _ = begun.communicate(timeout=2 * PATIENCE)
        except subprocess.TimeoutExpired:
            begun.kill()
            begun.communicate()
            raise
        assert begun.returncode == 0 or not check, f"annotriage {' '.join(map(str, words))}\n{said}"
        return said

    def begin(self, *words: object) -> Command:
        """One of the commands, not waited for."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ANNOTRIAGE_")}
        return Command([*map(str, words), "--config", str(self.config)], self.folder, environment)

    def call(self, method: str, path: str, **options: object) -> requests.Response:
        """A call of its API."""
        auth = (self.settings.user, self.password)
        return requests.request(method, self.url + path, auth=auth, timeout=PATIENCE, **options)  # type: ignore[arg-type]

    def get(self, path: str, **parameters: object) -> object:
        """What its API answers."""
        answer = self.call("GET", path, params=parameters)
        assert answer.ok, answer.text
        return answer.json()

    def store(self) -> Store:
        """Its database, to look into. Close it."""
        return Store(self.settings.database)

    def tail(self, lines: int = 30) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/health", timeout=5).ok
        except requests.RequestException:
            return False


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that nobody else is given before the end of this process.

    On Linux a socket that does not listen holds it: no other process and no outgoing connection gets it, and a server, which
    asks for its port by number, may listen beside that.
    """
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    if sys.platform == "linux":
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _held.append(holder)
        return int(holder.getsockname()[1])
    with holder:
        return int(holder.getsockname()[1])
