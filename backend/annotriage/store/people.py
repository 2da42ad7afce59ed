"""People with an account of their own: what each may do, and who did what.

Passwords are kept as salted scrypt hashes. Besides these accounts there is the service's own user, from the
settings, who may do everything.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from annotriage.errors import SettingError, UnknownError
from annotriage.states import Role, Time
from annotriage.store.database import columns_of, insert
from annotriage.store.schema import deed, person, session

COST, BLOCK, LANES = 2**14, 8, 1  # of scrypt: 16 MB and some 50 ms for each try
LEAST = 10  # characters of a password
LONGEST = 200  # characters of a name, and of a password


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account. signs_in: with a password; else a proxy in front does that."""

    name: str
    role: Role
    signs_in: bool
    at: Time


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody did. action: what it was, path: at which address. status: of the answer; from 400 on it was refused."""

    id: int
    at: Time
    person: str
    action: str
    path: str
    status: int


def people(connection: Connection) -> list[Person]:
    """Everybody with an account, by name."""
    query = select(person.c.name, person.c.role, person.c.password.is_not(None), person.c.at).order_by(person.c.name)
    return [Person(name, Role(role), bool(signs_in), at) for name, role, signs_in, at in connection.execute(query)]


def anybody(connection: Connection) -> bool:
    """Whether there are accounts besides the service's own."""
    return connection.execute(select(person.c.name).limit(1)).first() is not None


def role_of(connection: Connection, name: str) -> Role | None:
    """What somebody may do; None for a stranger."""
    found = connection.execute(select(person.c.role).where(person.c.name == name)).scalar_one_or_none()
    return None if found is None else Role(found)


def hash_of(connection: Connection, name: str) -> str | None:
    """The hash of somebody's password, to be handed to `is_password`; None for a stranger, and for whom a proxy signs in."""
    return connection.execute(select(person.c.password).where(person.c.name == name)).scalar_one_or_none()


def set_person(connection: Connection, name: str, role: Role, password: str | None, *, service_user: str) -> None:
    """Add an account, or change it; who has signed in with it signs in anew. password: None for whom a proxy signs in.

    Raises SettingError if the name or the password cannot be.
    """
    if fault := name_fault(name, service_user):
        raise SettingError(fault)
    if password is not None and not LEAST <= len(password) <= LONGEST:
        raise SettingError(f"the password has {len(password)} characters; it takes {LEAST} to {LONGEST}")
    values = {"role": role, "password": None if password is None else _hashed(password), "at": time.time()}
    add = insert(connection, person).values(name=name, **values)
    connection.execute(add.on_conflict_do_update(index_elements=["name"], set_=values))
    connection.execute(session.delete().where(session.c.user == name))


def name_fault(name: str, service_user: str) -> str:
    """Why somebody cannot be called that, in words; "" if they can."""
    if not name or len(name) > LONGEST or ":" in name or not name.isprintable() or name != name.strip():
        return f"{name[:60]!r} is no name; it has 1 to {LONGEST} characters, no colon, and no space at its ends"
    return f"{name!r} is the service's own user; choose another name" if name == service_user else ""


def remove_person(connection: Connection, name: str) -> None:
    """Take an account away, and end its sessions; what its person did stays in the log. Raises UnknownError."""
    if not connection.execute(person.delete().where(person.c.name == name)).rowcount:
        known = ", ".join(found.name for found in people(connection)) or "nobody"
        raise UnknownError(f"nobody here is called {name[:60]!r}; accounts have {known}")
    connection.execute(session.delete().where(session.c.user == name))


def is_password(kept: str | None, password: str) -> bool:
    """Whether this is the password of a hash; as slow for a stranger (None) as for anybody."""
    salt, _, hashed = (kept or f"{'0' * 32}$").partition("$")
    return hmac.compare_digest(_scrypt(password, salt), hashed) and kept is not None


def write_deed(connection: Connection, name: str, action: str, path: str = "", status: int = 200) -> None:
    """Write down what somebody did."""
    connection.execute(deed.insert().values(person=name, action=action, path=path, status=status, at=time.time()))


def deeds(connection: Connection, *, before: int | None = None, limit: int = 100) -> Sequence[Deed]:
    """Who did what, the latest first. before: the id of the last one seen."""
    query = select(*columns_of(deed, Deed)).order_by(deed.c.id.desc()).limit(limit)
    return [Deed(*row) for row in connection.execute(query if before is None else query.where(deed.c.id < before))]


def _hashed(password: str) -> str:
    salt = secrets.token_hex(16)
    return f"{salt}${_scrypt(password, salt)}"


def _scrypt(password: str, salt: str) -> str:
    content = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(content, salt=bytes.fromhex(salt), n=COST, r=BLOCK, p=LANES, dklen=32).hex()
