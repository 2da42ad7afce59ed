"""The map of a project: its page, the points of its maps as they are stored, the item behind a point, and what a lasso does."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flask import Response, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection
from werkzeug.wrappers import Response as Redirect

from annotriage.advice.numbers import count
from annotriage.errors import SettingError
from annotriage.service.delivery.rerouting import Rerouted, foresee, send_to_review, take_back, undo_rerouting
from annotriage.service.guarantee.proposals import least_of
from annotriage.service.operations.process import Process
from annotriage.service.readings.dataset import snapshot_of
from annotriage.service.readings.facets import Facet, facets_of
from annotriage.service.readings.item import nearest_shown, queue_lines
from annotriage.store import maps, work
from annotriage.store.browsing import item_of_id
from annotriage.store.datasets import datasets_named, routes_of
from annotriage.store.map_points import KINDS, SCORE_EDGES
from annotriage.store.maps import Map
from annotriage.store.projects import Project
from annotriage.store.queue import checks_by_route, ids_of
from annotriage.store.saved_views import SavedView, saved_views
from annotriage.store.snapshots import groups_of
from annotriage.web.query_args import LARGEST, Walk, dataset_asked, item_asked, selected_ids, walk_asked, whole
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

METHOD_NAMES = {"umap": "overview", "tsne": "neighbours"}  # in plain words; the page says what is behind them
IN_SPACE = maps.IN_SPACE[0]
POINTS = "application/vnd.annotriage.points"
WHOLE = 2_000_000  # points that a browser holds each by itself; of a larger map it keeps those that stand for others


@dataclass(frozen=True)
class MapPage:
    """The page around the map.

    dimensions: 2 or 3. enough: from how many items on a selection may be labelled at once, None if from none. map: the one asked for, None
    before the first. older: of its method. sentence: what it shows, in words.
    """

    project: Project
    method: str
    dimensions: int
    map: Map | None
    older: Sequence[Map]
    scored: int
    failed: int
    waiting: int
    enough: int | None
    attempt: Map | None
    sentence: str
    walk: Walk
    facets: Sequence[Facet]
    views: Sequence[SavedView]
    missing: str | None


def add_views(routes: Routes) -> None:
    """Add the page and what it asks for."""
    process = routes.process

    def build(connection: Connection, project: Project) -> MapPage | Redirect:
        walk, (searched, missing) = walk_asked("map"), item_asked(connection, project)
        if searched is None:
            return _page(connection, project, walk, missing)
        twin = "_json" if (request.endpoint or "").endswith("_json") else ""
        return redirect(url_for(f"web.map{twin}", project=project.external_id, **walk.args(item=searched.id)))

    routes.project_page("/map", "map", build, METHODS=METHOD_NAMES, WHOLE=WHOLE)

    @routes.reading("/map/state")
    def map_state(connection: Connection, project: Project) -> ResponseReturnValue:
        return _state(connection, project, _kind(), whole("map"))

    @routes.writing("/map/ask")
    def map_ask(connection: Connection, project: Project) -> ResponseReturnValue:
        """Somebody looks at the map in space, which is made for who asks: again where it is old."""
        maps.ask_for(connection, project, IN_SPACE)
        return {}

    @routes.reading("/map/<int:map_id>/legend")
    def map_legend(connection: Connection, project: Project, map_id: int) -> ResponseReturnValue:
        return _legend(connection, project, maps.map_of(connection, project, map_id))

    @routes.reading(f"/map/<int:map_id>/points/<int(max={LARGEST}):number>")
    def map_points(connection: Connection, project: Project, map_id: int, number: int) -> ResponseReturnValue:
        content = maps.piece_in_sight(connection, project, maps.map_of(connection, project, map_id).id, number)
        if content is None:
            abort(404)
        response = Response(content, mimetype=POINTS, headers={"Content-Encoding": "gzip"})
        # The address names the version, so that what the browser has need not be asked for again; what is hidden changes without one.
        kept = "version" in request.args and not project.hides_checks and maps.is_kept_up_to_date(connection, project, map_id)
        response.headers["Cache-Control"] = "private, max-age=86400, immutable" if kept else "no-store"
        return response

    @routes.reading("/map/chosen")
    def map_chosen(connection: Connection, project: Project) -> ResponseReturnValue:
        """Which items pass the filters that the page's address names: n, n row ids (uint32, little-endian), ascending."""
        ids = ids_of(connection, project, walk_asked("map").filters)
        return Response(struct.pack(f"<I{len(ids)}I", len(ids), *ids), mimetype=POINTS)

    @routes.reading("/map/groups")
    def map_groups(connection: Connection, project: Project) -> ResponseReturnValue:
        """Which items belong to groups of the dataset that is asked for: n, n row ids, n numbers (uint32, little-endian)."""
        dataset = dataset_asked(connection, project)
        members = {} if dataset is None else maps.in_sight(connection, project, groups_of(connection, dataset.id))
        return Response(struct.pack(f"<I{2 * len(members)}I", len(members), *members, *members.values()), mimetype=POINTS)

    @routes.reading("/map/items/<int:item_id>")
    def map_item(connection: Connection, project: Project, item_id: int) -> ResponseReturnValue:
        (line,) = queue_lines(connection, process.tool_project(project), project, [item_of_id(connection, project, item_id)])
        nearest = nearest_shown(connection, project, line.item)
        return render_template("_map_item.html", line=line, nearest=nearest, project=project)

    @routes.reading(f"/map/training/<int:reference_id>/<int(max={LARGEST}):place>")
    def map_training(connection: Connection, project: Project, reference_id: int, place: int) -> ResponseReturnValue:
        rows = maps.training_items(connection, reference_id, [place])
        if not rows:
            abort(404)
        return render_template("_map_training.html", row=rows[0], reference_id=reference_id, project=project)

    @routes.reading(f"/training/<int:reference_id>/<int(max={LARGEST}):place>/thumbnail")
    def training_thumbnail(connection: Connection, project: Project, reference_id: int, place: int) -> ResponseReturnValue:
        content = maps.training_thumbnail(connection, reference_id, place)
        if content is None:
            abort(404)
        mimetype = "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"
        return Response(content, mimetype=mimetype, headers={"Cache-Control": "private, max-age=86400"})

    @routes.open("/map/reroute", "POST")
    def map_reroute(project: Project) -> ResponseReturnValue:
        """Row ids of items (uint32, little-endian) in the body; to: review or back."""
        act = {"review": send_to_review, "back": take_back}.get(request.args.get("to", ""))
        if act is None:
            raise SettingError("to: is neither review nor back")
        return _answer(process, project, act(process, project, selected_ids(request.get_data()), visitor_name()))

    @routes.open("/map/foresee", "POST")
    def map_foresee(project: Project) -> ResponseReturnValue:
        """What sending the items in the body to review, or taking them out of it, would change; nothing is changed."""
        return asdict(foresee(process, project, selected_ids(request.get_data())))

    @routes.open("/map/reroute/<int:rerouting_id>/undo", "POST")
    def map_undo(project: Project, rerouting_id: int) -> ResponseReturnValue:
        return _answer(process, project, undo_rerouting(process, project, rerouting_id, visitor_name()), undone=True)


def _page(connection: Connection, project: Project, walk: Walk, missing: str | None) -> MapPage:
    method, map_id = _kind(), whole("map")
    older = maps.ready_maps(connection, project.id, method)
    chosen = next((row for row in older if row.id == map_id), older[0] if older else None)
    blind = checks_by_route(connection, project, answered=True)
    counts = {of_route.route: of_route.items for of_route in routes_of(connection, project)}
    failed = counts.get("failed", 0)
    return MapPage(
        project=project,
        method=maps.layout(method),
        dimensions=maps.dimensions(method),
        map=chosen,
        older=older,
        scored=sum(counts.values()) - failed,
        failed=failed,
        waiting=work.waiting(connection, project.id, project.reference_id),
        enough=least_of(connection, project),
        attempt=maps.latest_attempt(connection, project.id, method),
        sentence=_sentence(project, chosen, counts, blind, "together in space" if method == IN_SPACE else "together"),
        walk=walk,
        facets=facets_of(connection, project, walk.filters),
        views=saved_views(connection, project, "map"),
        missing=missing,
    )


def _sentence(project: Project, found: Map | None, counts: Mapping[str, int], blind: Mapping[str, int], how: str) -> str:
    """What a person sees at a glance, for those who cannot. counts, blind: items, and the open spot checks among them, by route."""
    if found is None:
        return ""
    if project.hides_checks:
        counts = {route: n - blind.get(route, 0) for route, n in counts.items()}
    incoming = sum(n for route, n in counts.items() if route != "failed")
    sentence = (
        f"{count(found.training, 'training item')} and {count(incoming, 'incoming one')}, laid out {how}: items that the model sees"
        " alike lie near each other."
    )
    outliers = counts.get("outlier", 0) - (0 if project.hides_checks else blind.get("outlier", 0))
    if outliers:
        sentence += f" {count(outliers, 'incoming item is', 'incoming items are')} strange."
    checks = sum(n for route, n in blind.items() if route != "failed")
    if checks and not project.hides_checks:
        which = "is an open spot check" if checks == 1 else "are open spot checks"
        sentence += f" {checks:,} of the incoming ones {which}, drawn as such: what the model says of them stays hidden."
    return sentence


def _state(connection: Connection, project: Project, method: str, map_id: int | None) -> dict[str, Any]:
    """What the page asks every few seconds: whether there is a newer map, or more on this one."""
    last = maps.newest(connection, project.id, method)
    shown = last if map_id is None else maps.map_of(connection, project, map_id)
    attempt = maps.latest_attempt(connection, project.id, method)
    return {
        "newest": None if last is None else last.id,
        "map": None if shown is None else shown.id,
        "pieces": [] if shown is None else [[piece.number, piece.n, piece.version] for piece in maps.pieces(connection, shown.id)],
        "making": None if attempt is None or attempt.state == "ready" else _making(attempt),
    }


def _making(attempt: Map) -> dict[str, Any]:
    return {"state": attempt.state, "progress": attempt.progress, "text": attempt.text}


def _legend(connection: Connection, project: Project, found: Map) -> dict[str, Any]:
    """What the codes of a map's points stand for."""
    named = datasets_named(connection, project, found.names["dataset"])
    snapshot = snapshot_of(connection, project, dataset_asked(connection, project))
    return {
        "map": found.id,
        "reference": found.reference_id,
        "routes": KINDS,
        "classes": found.names["class"],
        "datasets": [{"id": id, "name": named[id].name if id in named else "deleted"} for id in found.names["dataset"]],
        "score_edges": SCORE_EDGES,
        "groups": [{name: group[name] for name in ("number", "size")} for group in (snapshot.facts["groups"] if snapshot else ())],
    }


def _answer(process: Process, project: Project, done: Rerouted, *, undone: bool = False) -> dict[str, Any]:
    """What came of a rerouting, in words and for the map's points."""
    n = len(done.changed)
    with process.store.reading() as connection:
        codes = maps.routes_of_items(connection, done.changed)
    if undone:
        what = f"{'is' if n == 1 else 'are'} as before"
    else:
        verb = {"review": "sent to review", "back": "taken out of review"}[done.to]
        what = f"{'was' if n == 1 else 'were'} {verb}"
    return {
        "id": None if undone or not n else done.id,
        "to": done.to,
        "changed": done.changed,
        "routes": codes,
        "sentence": f"{count(n, 'item')} {what}.",
        "left": [f"{number:,} {why}" for why, number in sorted(done.left.items(), key=lambda pair: -pair[1])],
        "queue": url_for("web.queue", project=project.external_id),
    }


def _kind() -> str:
    """Which of the maps is asked for: by its method, and whether in space, for which there is one method alone."""
    if request.args.get("dimensions") == "3":
        return IN_SPACE
    method = request.args.get("method", "umap")
    return method if method in METHOD_NAMES else "umap"
