"""Writes what was measured into a settings file, and leaves everything else in it as its owner wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tomlkit

from perennial.config import load
from perennial.repository.durable import replace_text


def set_service(file: Path, service: str, values: Mapping[str, int], said: str) -> None:
    """Set a service's `values` in a TOML file, which is made where there is none; the first of them gets the
    comment `said`. `ConfigError` where the file would be none that can be read, and it stays as it was."""
    document = tomlkit.parse(file.read_text()) if file.is_file() else tomlkit.document()
    services = document.setdefault("services", tomlkit.table(is_super_table=True))
    section = services.setdefault(service, tomlkit.table())
    for number, (key, value) in enumerate(values.items()):
        item = tomlkit.item(value)
        section[key] = item if number else item.comment(said)
    part = file.with_name(f".{file.name}.part")
    part.write_text(document.as_string())
    try:
        load(part)
        replace_text(file, document.as_string(), part)
    finally:
        part.unlink(missing_ok=True)
