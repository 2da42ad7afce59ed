"""Who may do what, and who did what: a page for those who administer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from annotriage.errors import SettingError
from annotriage.report.tables import csv_texts
from annotriage.service.readings.deeds import COLUMNS, deed_pages
from annotriage.states import Role
from annotriage.store import people
from annotriage.store.people import Deed, Person
from annotriage.web.routing import Routes

LISTED = 50
WORDS = {
    Role.LOOK: "sees everything but open spot checks, changes nothing",
    Role.DECIDE: "pauses, sends items to review, answers in the queue, hands out groups or sets them aside, settles spot checks, reveals,"
    " recalibrates, certifies, checks labels, trains",
    Role.ADMINISTER: "changes limits and settings, lets new models take over, pushes and erases items, gives accounts",
}


@dataclass(frozen=True)
class AccountsPage:
    """What the page shows. user: the service's own, who may do everything. deeds: the latest."""

    user: str
    people: Sequence[Person]
    deeds: Sequence[Deed]


def add_views(routes: Routes) -> None:
    """Add the page and what it offers."""
    process = routes.process

    def accounts() -> AccountsPage:
        with process.store.reading() as connection:
            return AccountsPage(process.settings.user, people.people(connection), people.deeds(connection, limit=LISTED))

    routes.page("/system/accounts", "accounts", accounts, WORDS=WORDS)

    @routes.pages.post("/system/accounts")
    def set_account() -> ResponseReturnValue:
        name, role = request.form.get("name", "").strip(), request.form.get("role", "")
        if role not in list(Role):
            raise SettingError(f"role: {role[:40]!r} is none of {', '.join(Role)}")
        with process.store.writing() as connection:
            people.set_person(connection, name, Role(role), request.form.get("password") or None, service_user=process.settings.user)
        flash(f"{name} may {role} from now on.", "done")
        return redirect(url_for("web.accounts"), 303)

    @routes.pages.post("/system/accounts/remove")
    def remove_account() -> ResponseReturnValue:
        name = request.form.get("name", "")
        with process.store.writing() as connection:
            people.remove_person(connection, name)
            open_to_all = process.settings.trusted_proxy and not people.anybody(connection)
        flash(f"{name} has no account any more.", "done")
        if open_to_all:
            flash("There are no accounts now, so whomever the proxy names may do everything. Give somebody an account.", "error")
        return redirect(url_for("web.accounts"), 303)

    @routes.pages.get("/system/deeds.csv")
    def deeds_csv() -> ResponseReturnValue:
        headers = {"Content-Disposition": 'attachment; filename="deeds.csv"'}
        return Response(csv_texts(list(COLUMNS), deed_pages(process.store)), mimetype="text/csv", headers=headers)
