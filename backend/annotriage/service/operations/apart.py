"""What takes much memory for a while, in a process of its own: all of it goes back to the system with that process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Made = TypeVar("Made")

LOOK_SECONDS = 0.5  # between two looks at whether anybody still wants it


def apart(
    what: str,
    function: Callable[..., Made],
    *given: Any,
    seconds: float = float("inf"),
    stopping: threading.Event | None = None,
    without: Sequence[str] = (),
) -> Made:
    """What a function makes of what it is given, in a process of its own that ends with it, or with this one.

    what: names the process. function: one that a new process can import; what it is given and what it makes go through a pipe, and are
    written nowhere. seconds: how long it may take. stopping: nobody wants it any more once this is set. without: modules that libraries
    load where they are installed, and that nothing here needs.
    Raises what the function raises, TimeoutError, InterruptedError if it is not wanted any more, ChildProcessError if the process ended
    without a result, as one that was killed for its memory.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=_answer, args=(theirs,), name=f"annotriage-{what}", daemon=True)
    giver = threading.Thread(target=_give, args=(ours, without, (function, given)), name=f"{what} given", daemon=True)
    end = time.monotonic() + seconds
    try:
        child.start()
        theirs.close()
        giver.start()  # what is large is taken only once the child runs, and it may never do
        while not ours.poll(max(0.0, min(LOOK_SECONDS, end - time.monotonic()))):
            if stopping is not None and stopping.is_set():
                raise InterruptedError(f"{what}: the service was stopped meanwhile")
            if time.monotonic() >= end:
                raise TimeoutError(f"{what}: it took longer than {seconds:g} s")
        made, error = ours.recv()
    except (EOFError, ConnectionError, BlockingIOError):
        raise ChildProcessError(f"{what}: its process ended without a result; there may not have been memory enough for it") from None
    finally:
        theirs.close()
        if child.pid is not None:
            child.kill()  # it has nothing left to do
            child.join()
        if giver.ident is not None:
            giver.join()  # it gives to nobody any more
        ours.close()
    if error is not None:
        raise error
    result: Made = made
    return result


def _give(pipe: Connection, without: Sequence[str], given: object) -> None:
    with suppress(OSError):  # the child has ended
        pipe.send(without)
        pipe.send(given)


def _answer(pipe: Connection) -> None:
    """The process from beginning to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group, and whoever asked ends this
    sys.meta_path.insert(0, _Without(pipe.recv()))  # before the function brings its modules
    function, given = pipe.recv()
    threading.Thread(target=_end_with_parent, args=(pipe,), name="lifeline", daemon=True).start()
    said: tuple[Any, Exception | None]
    try:
        said = function(*given), None
    except Exception as error:
        said = None, _fit_to_travel(error)
    pipe.send(said)
    pipe.close()


@dataclass(frozen=True)
class _Without:
    """Refuses these modules, as if they were not installed."""

    modules: Sequence[str]

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raises ModuleNotFoundError for these; others are found elsewhere."""
        if name in self.modules:
            raise ModuleNotFoundError(f"{name} is not wanted here", name=name)


def _fit_to_travel(error: Exception) -> Exception:
    """An error as it arrives elsewhere, with what led to it, which does not travel by itself."""
    led = "".join(traceback.format_exception(error))
    try:
        type(error)(*error.args)
    except Exception:  # some are made of more than what they say
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(led)
    return error


def _end_with_parent(pipe: Connection) -> None:
    """Nothing more is sent here: the end of it is that of whoever asked."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os._exit(1)
