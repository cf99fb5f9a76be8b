"""Stores: durable memory of services, feedback and jobs. `open_store` finds the member for a URL."""

from __future__ import annotations

from perennial import plugins
from perennial.errors import ConfigError
from perennial.store_protocol import Store

_MEMBERS = {"sqlite": "sqlite", "postgresql": "postgres", "postgres": "postgres"}


def open_store(url: str) -> Store:
    """The store at `url`, its schema brought up to date; made where `sqlite:///` names no file yet."""
    scheme = url.partition(":")[0]
    if scheme not in _MEMBERS:
        raise ConfigError(
            f"a store URL begins with sqlite:/// or postgresql://, not {scheme!r}; mend store_url "
            "(PERENNIAL_STORE_URL)"
        )
    store: Store = plugins.get("stores", _MEMBERS[scheme])(url)
    return store
