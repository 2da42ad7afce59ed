"""Figures of the running service for Prometheus, read from the store whenever they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from annotriage.service.operations.process import Process
from annotriage.store import inbox as unread
from annotriage.store import work
from annotriage.store.datasets import routes_of
from annotriage.store.deliveries import undelivered
from annotriage.store.projects import projects
from annotriage.store.queue import queue_length

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds


class Metrics:
    """The figures of one web process, in a registry of their own."""

    def __init__(self, process: Process) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_State(process))
        labels = ("method", "route", "status")
        self._requests = Counter("annotriage_requests", "Requests answered by this process.", labels, registry=self._registry)
        name, text = "annotriage_request_seconds", "How long they took."
        self._seconds = Histogram(name, text, ("route",), buckets=BUCKETS, registry=self._registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request was answered. route: its rule, not its path, so that there are few."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All figures as Prometheus reads them."""
        return generate_latest(self._registry)


class _State(Collector):
    """What the store knows."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: the registry shall not ask the store when it is made."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One family per figure."""
        items = GaugeMetricFamily("annotriage_items", "Items by route.", labels=("project", "route"))
        unanswered = GaugeMetricFamily("annotriage_items_open", "Of them not answered yet.", labels=("project", "route"))
        queue = GaugeMetricFamily("annotriage_queue_length", "Items that wait for a person.", labels=("project",))
        waiting = GaugeMetricFamily("annotriage_work_waiting", "Items still to be judged.", labels=("project",))
        deliveries = GaugeMetricFamily("annotriage_deliveries", "Predictions not confirmed yet, by state.", labels=("project", "state"))
        inbox = GaugeMetricFamily("annotriage_inbox", "Webhooks that were not read yet, or cannot be.", labels=("state",))
        stopped = GaugeMetricFamily("annotriage_stopped", "1 where something is stopped; the API says why.", labels=("project", "what"))
        poll = GaugeMetricFamily("annotriage_seconds_since_poll", "Since the labeling tool was last read.", labels=("project",))
        alive = GaugeMetricFamily("annotriage_processes", "Processes that gave a sign of life recently.", labels=("role",))
        with self._process.store.reading() as connection:
            for project in projects(connection):
                id = project.external_id
                for route in routes_of(connection, project):
                    items.add_metric((id, route.route), route.items)
                    unanswered.add_metric((id, route.route), route.open)
                queue.add_metric((id,), queue_length(connection, project))
                waiting.add_metric((id,), work.waiting(connection, project.id, project.reference_id))
                for state, count in undelivered(connection, project.id).items():
                    deliveries.add_metric((id, state), count)
                states = {"paused": project.paused, "alarm": project.alarm, "trouble": project.trouble, "problem": project.problem}
                for what, holds in states.items():
                    stopped.add_metric((id, what), float(bool(holds)))
                if project.read_until:
                    poll.add_metric((id,), max(0.0, time.time() - project.read_until))
            roles = [row.role for row in work.living(connection)]
            for role in ("web", "worker", "jobs"):
                alive.add_metric((role,), roles.count(role))
        with self._process.store.inbox.reading() as connection:
            for state, count in unread.states(connection).items():
                inbox.add_metric((state,), count)
        yield from (items, unanswered, queue, waiting, deliveries, inbox, stopped, poll, alive)
