"""A page in Chromium that nothing looks into but what is asked of it.

Playwright has every browser keep what its pages load, up to 200 MB in the very process whose memory is to be told. This asks for nothing of
the kind: it speaks the browser's own protocol through a pipe, evaluates expressions, and reads what the processes hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

WIDTH, HEIGHT = 1280, 900  # CSS pixels


class BarePage:
    """A page of a browser of its own."""

    def __init__(self, asking: int, answering: int) -> None:
        """asking, answering: the ends of the browser's pipes."""
        self._asking, self._answers = os.fdopen(asking, "wb"), os.fdopen(answering, "rb")
        self._number = 0
        self._session: str | None = None
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Emulation.setDeviceMetricsOverride", width=WIDTH, height=HEIGHT, deviceScaleFactor=1, mobile=False)

    def go(self, url: str) -> None:
        """Begin to load an address."""
        self._ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """What an expression gives, or what it promises. Raises RuntimeError where it fails."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Until an expression holds; what fails does not hold yet. meanwhile: what is done between two looks."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.evaluate(f"Boolean({expression})"):
                    return
            except RuntimeError:
                pass
            if time.monotonic() > end:
                raise TimeoutError(expression)
            meanwhile()
            time.sleep(0.1)

    def held(self) -> float:
        """The private memory of the process that shows the page, in MB, once garbage is collected."""
        self._ask("HeapProfiler.collectGarbage")
        return self.holds()

    def holds(self) -> float:
        """The same as it is, garbage and all."""
        session, self._session = self._session, None
        found = [one["id"] for one in self._ask("SystemInfo.getProcessInfo")["processInfo"] if one["type"] == "renderer"]
        self._session = session
        return float(max(psutil.Process(id).memory_full_info().uss for id in found) / 1e6)

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self._ask("Browser.close")
        self._asking.close()
        self._answers.close()

    def _ask(self, method: str, **given: object) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": given}
        if self._session is not None:
            message["sessionId"] = self._session
        self._asking.write(json.dumps(message).encode() + b"\0")
        self._asking.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._number:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _read(self) -> bytes:
        read = bytearray()
        while (byte := self._answers.read(1)) not in (b"\0", b""):
            read += byte
        return bytes(read)


@contextmanager
def bare_page(path: str, options: Sequence[str]) -> Iterator[BarePage]:
    """A page in the Chromium at `path`, which ends with the block."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        theirs_in, asking = os.pipe()
        answering, theirs_out = os.pipe()
        where = f"--user-data-dir={Path(profile)}"
        fixed = ("--remote-debugging-pipe", "--no-first-run", where)
        # the browser reads from its third and writes to its fourth file
        shell = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-'
        process = subprocess.Popen(
            ["bash", "-c", shell, path, *fixed, *options],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            page = BarePage(asking, answering)
            yield page
            page.close()
            process.wait(20)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
