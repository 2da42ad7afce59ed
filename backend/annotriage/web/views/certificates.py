"""Certificates of finished datasets: what is certified, what more checks would show, and the form that asks for one."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection

from annotriage.advice import certificate_words
from annotriage.errors import DataError
from annotriage.report.certificate_page import certificate_page
from annotriage.service.guarantee.certifying import certify
from annotriage.service.guarantee.signing import public_key, signed
from annotriage.service.readings.certificate import Certificate, certificate_now, certificates_now, facts_of
from annotriage.service.readings.dataset import DatasetLine, dataset_lines
from annotriage.store.certificates import certificate_of
from annotriage.store.datasets import dataset_of_project, datasets_page
from annotriage.store.projects import Project
from annotriage.web.query_args import DAY, day, whole
from annotriage.web.routing import Routes
from annotriage.web.sessions import visitor_name

SHOWN = 20  # certificates of a page
DATASETS = 200  # to choose from


@dataclass(frozen=True)
class CertificatesPage:
    """What the page shows. chosen: the dataset for which the form is filled in."""

    project: Project
    certificates: Sequence[Certificate]
    next: int | None
    datasets: Sequence[DatasetLine]
    chosen: int | None


def add_views(routes: Routes) -> None:
    """Add the page and the files of each certificate."""
    process = routes.process
    routes.project_page("/certificates", "certificates", _page, words=certificate_words)

    @routes.open("/certificates", "POST")
    def make_certificate(project: Project) -> ResponseReturnValue:
        form = request.form
        wanted, until = form.get("wanted", "").strip(), form.get("until", "").strip()
        most = _number("wrong labels at most", wanted) if wanted else None
        with process.store.reading() as connection:
            if like := form.get("like", ""):
                earlier = certificate_of(connection, project, _number("certificate", like))
                dataset_id, end = earlier.dataset_id, earlier.until
            else:
                dataset_id, end = _number("dataset", form.get("dataset", "")), min(day(until) + DAY, time.time()) if until else time.time()
            dataset = dataset_of_project(connection, project, dataset_id)
        id = certify(process, project, dataset, until=end, wanted=most, by=visitor_name())
        flash("The labels and their checks are fixed. The number falls as people answer what is open.", "done")
        return redirect(url_for("web.certificates", project=project.external_id, _anchor=f"certificate-{id}"), 303)

    @routes.open("/certificates/<int:certificate>.html")
    def certificate_html(project: Project, certificate: int) -> ResponseReturnValue:
        return Response(certificate_page(_signed(project, certificate)), mimetype="text/html")

    @routes.open("/certificates/<int:certificate>.signed")
    def certificate_file(project: Project, certificate: int) -> ResponseReturnValue:
        headers = {"Content-Disposition": f'attachment; filename="certificate-{certificate}.json"'}
        return Response(json.dumps(_signed(project, certificate), indent=2), mimetype="application/json", headers=headers)

    @routes.open("/certificates/key.pem")
    def certificate_key(project: Project) -> ResponseReturnValue:
        headers = {"Content-Disposition": 'attachment; filename="certificates.pem"'}
        return Response(public_key(process.store), mimetype="application/x-pem-file", headers=headers)

    def _signed(project: Project, id: int) -> dict[str, object]:
        with process.store.reading() as connection:
            found = certificate_now(connection, project, id)
        return signed(process.store, facts_of(found))


def _page(connection: Connection, project: Project) -> CertificatesPage:
    chosen = whole("dataset")
    rows = certificates_now(connection, project, dataset_id=chosen, after=whole("after"), limit=SHOWN)
    datasets = dataset_lines(connection, project, datasets_page(connection, project, limit=DATASETS))
    return CertificatesPage(project, rows, rows[-1].id if len(rows) == SHOWN else None, datasets, chosen)


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise DataError(f"{name}: {text[:40]!r} is no whole number")
    return int(text)
