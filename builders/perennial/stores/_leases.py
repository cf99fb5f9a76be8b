"""Statements on leases: who may work, and the fencing token that stops a holder who lost the right.

Every function that changes anything runs in a write transaction, so what it read still holds as it writes.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, insert, select, update

from perennial.errors import Fenced
from perennial.stores._clock import now
from perennial.stores._schema import leases
from perennial.types import Lease

NOBODY = ""


def acquire(connection: Connection, name: str, holder: str, ttl_s: float) -> Lease | None:
    found = connection.execute(select(leases, now().label("now")).where(leases.c.name == name)).first()
    if found is None:
        at = connection.execute(select(now())).scalar_one()
        lease = Lease(name, holder, 1, at + ttl_s)
        connection.execute(insert(leases).values(_columns(lease)))
        return lease
    if found.holder not in (NOBODY, holder) and found.expires_at > found.now:
        return None
    lease = Lease(name, holder, found.token + 1, found.now + ttl_s)
    _put(connection, lease)
    return lease


def in_force(connection: Connection, name: str) -> Lease | None:
    held = (leases.c.name == name) & (leases.c.holder != NOBODY) & (leases.c.expires_at > now())
    found = connection.execute(select(leases).where(held)).first()
    return Lease(**found._mapping) if found else None


def renew(connection: Connection, lease: Lease, ttl_s: float) -> Lease:
    """A lease that ran out, but that nobody took, is renewed."""
    check(connection, lease)
    renewed = replace(lease, expires_at=connection.execute(select(now())).scalar_one() + ttl_s)
    _put(connection, renewed)
    return renewed


def release(connection: Connection, lease: Lease) -> None:
    """Let go of the lease; nothing to do where it was lost. The row stays, for the token must grow."""
    mine = (leases.c.name == lease.name) & (leases.c.token == lease.token)
    connection.execute(update(leases).where(mine).values(holder=NOBODY, expires_at=0.0))


def check(connection: Connection, lease: Lease) -> None:
    """Raise `Fenced` unless `lease` is still the one in force."""
    found = connection.execute(select(leases).where(leases.c.name == lease.name)).first()
    if found is None or (found.token, found.holder) != (lease.token, lease.holder):
        now_held = f"{found.holder or 'nobody'} (token {found.token})" if found else "nobody"
        raise Fenced(
            f"lease {lease.name!r} of {lease.holder} (token {lease.token}) is now held by {now_held}; "
            "this worker stops, and the holder goes on with the job"
        )


def _put(connection: Connection, lease: Lease) -> None:
    connection.execute(update(leases).where(leases.c.name == lease.name).values(_columns(lease)))


def _columns(lease: Lease) -> dict[str, object]:
    return {
        "name": lease.name,
        "holder": lease.holder,
        "token": lease.token,
        "expires_at": lease.expires_at,
    }
