"""Two replicas behind whatever spreads requests over them: a visitor whose every request goes to the other one than the last."""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import psutil
import requests
from sqlalchemy import select
from storm_site import Site
from waiting import PATIENCE

from annotriage.store import work
from annotriage.store.schema import job

PAGE = {"Accept": "text/html"}


class Visitor:
    """A browser's cookies, and addresses that it asks in turn."""

    def __init__(self, *addresses: str) -> None:
        self._session, self._turn = requests.Session(), itertools.cycle(addresses)

    def ask(self, method: str, path: str, **given: object) -> requests.Response:
        """What the next replica answers, wherever it sends on to."""
        return self._session.request(method, next(self._turn) + path, headers=PAGE, timeout=PATIENCE, **given)  # type: ignore[arg-type]

    def page(self, path: str) -> str:
        """A page that must be there."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text[:500]
        return answer.text

    def submit(self, path: str, page: str, **form: str) -> requests.Response:
        """Send the form of one replica's page to the other."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.page(page))
        assert found is not None, f"{page} has no form"
        return self.ask("POST", path, data={"csrf": found.group(1), **form}, allow_redirects=False)

    def both(self, path: str) -> list[bytes]:
        """What both answer, one after the other; it must be there."""
        answers = [self.ask("GET", path) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200], path
        return [answer.content for answer in answers]

    @property
    def cookies(self) -> dict[str, str]:
        """What somebody who looks over the visitor's shoulder would have."""
        return self._session.cookies.get_dict()

    def take(self, cookies: dict[str, str]) -> None:
        """Use these from now on."""
        self._session.cookies.clear()
        self._session.cookies.update(cookies)


def ask_in_turn(site: Site, _rng: Random) -> str:
    """Two services share the database, and nothing that people do minds which of them answers."""
    other = site.replica("in-turn")
    try:
        site.send(24)
        site.settle()
        visitor = Visitor(site.service.url, other.url)
        sign_in_on_either(visitor, site)
        project = f"/projects/{site.project.id}"
        see_the_same(visitor, site, project)
        follow_changes(visitor, site, project)
        ask_both_for_a_job(visitor, other.url, site, project)
        sign_out_everywhere(visitor, project)
    finally:
        other.stop()
    return ""


def sign_in_on_either(visitor: Visitor, site: Site) -> None:
    """A form of one replica signs in at the other, and from then on at both."""
    assert "Sign in" in visitor.page("/")
    form = {"user": site.service.settings.user, "password": site.service.password}
    assert visitor.submit("/sign-in", "/sign-in", **form).status_code == 303
    for _ in range(2):
        assert "Sign out" in visitor.page("/")


def see_the_same(visitor: Visitor, site: Site, project: str) -> None:
    """Pictures and files come from the database, whoever made them."""
    visitor.ask("GET", "/health")  # an odd number, so that what follows begins with the other one
    item = re.search(rf"{project}/items/(\d+)/thumbnail", visitor.page(f"{project}/items"))
    assert item is not None
    for path in (item.group(), f"{project}/labels.csv"):
        site.wait(lambda path=path: len(set(visitor.both(path))) == 1, f"for both to answer alike at {path}")


def follow_changes(visitor: Visitor, site: Site, project: str) -> None:
    """What is done on one replica is told by both, to pages that are open."""

    def mark() -> bytes:
        site.wait(lambda: len(set(visitor.both(f"{project}/changes"))) == 1, "for both to tell the same of what changed")
        return visitor.both(f"{project}/changes")[0]

    before = mark()
    for act in ("pause", "resume"):
        assert visitor.submit(f"{project}/{act}", f"{project}/overview").status_code in (302, 303)
        site.wait(lambda before=before: before not in visitor.both(f"{project}/changes"), f"for both to tell of what {act} did")
        before = mark()


def ask_both_for_a_job(visitor: Visitor, other: str, site: Site, project: str) -> None:
    """Two people ask at once, each another replica, and the job is done once. Nobody takes it before both have asked: done and over, it
    may well be asked for again."""
    both = [Visitor(site.service.url), Visitor(other)]
    asking = [threading.Thread(target=one.submit, args=(f"{project}/recalibrate", f"{project}/guarantee")) for one in both]

    def rows() -> list[tuple[str, int]]:
        with site.store.reading() as connection:
            query = select(job.c.state, job.c.attempts).where(job.c.kind == "recalibrate")
            return [(row.state, row.attempts) for row in connection.execute(query)]

    with jobs_stopped(site):
        for one, thread in zip(both, asking, strict=True):
            one.take(visitor.cookies)
            thread.start()
        for thread in asking:
            thread.join()
        assert rows() == [("queued", 0)], rows()
    site.wait(lambda: all(state in ("done", "failed") for state, _ in rows()), "for the recalibration to end")
    ((_, attempts),) = rows()
    assert attempts == 1


@contextmanager
def jobs_stopped(site: Site) -> Iterator[None]:
    """A block in which the jobs processes of all replicas do nothing, and do not know."""
    stopped: list[int] = []

    def both_run() -> bool:
        with site.store.reading() as connection:
            stopped[:] = [row.pid for row in work.living(connection) if row.role == "jobs" and psutil.pid_exists(row.pid)]
        return len(stopped) == 2

    site.wait(both_run, "for the jobs processes of both replicas")
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


def sign_out_everywhere(visitor: Visitor, project: str) -> None:
    """Signing out at one replica ends the session at the other, for whoever has copied its cookie, too."""
    copied = visitor.cookies
    assert visitor.submit("/sign-out", f"{project}/overview").status_code == 303
    visitor.take(copied)
    for _ in range(2):
        assert "Sign in" in visitor.page(f"{project}/overview")
