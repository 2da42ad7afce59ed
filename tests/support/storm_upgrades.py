"""Storms of upgrades: newer versions, each with one more migration than the one before, meet the present one on one database."""

from __future__ import annotations

import shutil
import time
from random import Random

from newer_versions import MIGRATING
from running import RunningService
from storm_site import TASKS, Site
from waiting import PATIENCE

REFUSED = "upgraded by a newer version of annotriage"


def upgrade_side_by_side(site: Site, rng: Random) -> str:
    """A replica of the next version, which only adds, works beside the present one, and either is killed. Then one of the version after
    that, which tightens: it alone goes on, and the present one says why it does not, and does not start again.
    """
    old, others = site.service, list[RunningService]()
    try:
        others.append(site.newer(1))
        others[0].start()
        site.send(TASKS)
        site.moment(rng.choice(("intake", "inference", "verdict")))
        if rng.random() < 0.5:
            site.kill("all")  # the present version starts again on what the next one has changed
        else:
            others[0].kill()
            site.killed["newer version"] += 1
            others[0].start()
        site.send(TASKS)
        site.settle()
        site.send(TASKS)
        others.append(site.newer(2, slow=True))
        others[1].start()
        site.send(TASKS)
        told = site.told(REFUSED, ready=REFUSED)
        answer = old.call("GET", f"/api/projects/{site.project.id}")
        assert answer.status_code == 503, "what runs on does nothing any more"
        assert REFUSED in answer.text
        others.pop(0).stop()
        _downgrade_refused(site, others[0])
        site.settle()
    finally:
        site.service = old
        for other in others:
            other.stop()
    _begin_anew(site)
    return told


def upgrade_killed(site: Site, rng: Random) -> str:
    """The service is stopped or killed, and a version two migrations ahead is killed as it migrates; then it starts, and goes on with all
    there is. The present version does not start again.
    """
    old = site.service
    site.send(TASKS)
    site.moment(rng.choice(("intake", "inference", "verdict")))
    if rng.random() < 0.5:
        site.kill("all", again=False)
    else:
        old.stop()
    new = site.newer(2, slow=True)
    try:
        for _ in range(rng.randint(1, 3)):
            new.launch()
            end = time.monotonic() + PATIENCE
            while MIGRATING not in new.tail() and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 1.2))
            new.kill()
            site.killed["newer version"] += 1
            new.log.unlink()
        new.start()
        site.send(TASKS)
        _downgrade_refused(site, new)
        site.settle()
    finally:
        site.service = old
        new.stop()
    _begin_anew(site)
    return ""


def _downgrade_refused(site: Site, new: RunningService) -> None:
    """The present version, stopped, does not start; the newer one takes its place at the site."""
    site.service.stop()
    refused = site.service.begin("serve")
    said, _ = refused.communicate(timeout=PATIENCE)
    assert refused.returncode == 1, f"an older version started: {said}"
    assert REFUSED in said
    site.service = new


def _begin_anew(site: Site) -> None:
    """The present version on a database of its own again, and everything is well there, too."""
    for folder in site.folder.glob("newer-*"):
        shutil.rmtree(folder)
    site.begin_anew()
    site.choose_project()
    site.send(TASKS)
