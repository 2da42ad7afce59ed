"""Starting, finding again and stopping a Label Studio of our own."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest
import requests
from running import free_port
from waiting import PATIENCE, wait_until

from annotriage.errors import SettingError, ToolError
from annotriage_label_studio.demo.server import LOG, running, serving, start, stop

START = """
import sys
from pathlib import Path
from annotriage_label_studio.demo.server import start
print(start(Path(sys.argv[1]), Path(sys.argv[2]), port=int(sys.argv[3])).url)
"""


@pytest.fixture
def folder(tmp_path):
    yield tmp_path / "server"
    stop(tmp_path / "server")


@pytest.fixture
def script(tmp_path):
    """An executable that is not Label Studio."""

    def script(text):
        path = tmp_path / "label-studio"
        path.write_text(f"#!{sys.executable}\n{text}", "utf-8")
        path.chmod(0o755)
        return path

    return script


def test_a_server_outlives_its_command_and_is_found_again_until_it_is_stopped(label_studio_executable, folder):
    command = [sys.executable, "-c", START, label_studio_executable, folder, str(free_port())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    url = done.stdout.strip()
    assert requests.get(f"{url}/health", timeout=PATIENCE).json() == {"status": "UP"}
    first = start(label_studio_executable, folder)
    assert (first.url, first) == (url, running(folder))
    assert stat.S_IMODE((folder / "server.json").stat().st_mode) == 0o600
    assert stop(folder)
    assert not stop(folder)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=PATIENCE)
    second = start(label_studio_executable, folder)
    assert (second.url, second.token, second.password) == (first.url, first.token, first.password)
    os.killpg(second.daemon.pid, signal.SIGKILL)
    wait_until(lambda: running(folder) is None, what="for the end of a killed server")


def test_an_account_that_the_database_does_not_know_is_told(label_studio_executable, folder):
    with serving(label_studio_executable, folder, port=free_port()):
        pass
    (folder / "server.json").unlink()
    with pytest.raises(ToolError, match=r"does not know the account of .*server.json"):
        start(label_studio_executable, folder)
    assert running(folder) is None


def test_a_missing_executable_names_the_command_that_installs_it(tmp_path, folder):
    with pytest.raises(SettingError, match=r"no Label Studio there. In a checkout run `make \.venv-label-studio/stamp`"):
        start(tmp_path / ".venv-label-studio" / "bin" / "label-studio", folder)
    assert not folder.exists()


def test_a_taken_port_is_refused(label_studio_executable, folder):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(SettingError, match=f"port {port} is taken"):
            start(label_studio_executable, folder, port=port)


def test_a_server_that_does_not_come_up_shows_the_end_of_its_log(script, folder):
    broken = script("import sys\nif sys.argv[1] == 'start': sys.exit('no such table: tasks')")
    with pytest.raises(ToolError, match=rf"(?s)ended by itself. The end of its log, .*{LOG}:\nno such table: tasks"):
        start(broken, folder)


def test_a_database_that_cannot_be_made_shows_the_end_of_the_log(script, folder):
    with pytest.raises(ToolError, match=r"(?s)could not make its database \(exit status 1\).*\nthe disk is full"):
        start(script("raise SystemExit('the disk is full')"), folder)


def test_a_server_that_never_answers_is_given_up_and_ended(script, folder):
    sleeper = script("import sys, time\nif sys.argv[1] == 'start': time.sleep(60)")
    with pytest.raises(ToolError, match=r"did not answer at http://127.0.0.1:[0-9]+ after 1 s"):
        start(sleeper, folder, seconds=1)
    assert running(folder) is None


def test_an_environment_that_was_moved_is_told(script, folder):
    gone = script("")
    gone.write_text("#!/nowhere/bin/python\n", "utf-8")
    with pytest.raises(SettingError, match="cannot be run: its interpreter is gone"):
        start(gone, folder)


def test_variables_of_the_shell_do_not_reach_the_server(script, folder, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "elsewhere")
    monkeypatch.setenv("LABEL_STUDIO_DJANGO_DB", "default")
    telling = script("import json, os, sys\nif sys.argv[1] == 'start': sys.exit(json.dumps(dict(os.environ)))")
    with pytest.raises(ToolError):
        start(telling, folder, environment={"WEBHOOK_TIMEOUT": "2"})
    variables = json.loads((folder / LOG).read_text("utf-8").splitlines()[-1])
    assert not {"DATABASE_URL", "LABEL_STUDIO_DJANGO_DB"} & set(variables)
    assert variables["WEBHOOK_TIMEOUT"] == "2"
