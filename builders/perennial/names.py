"""What a service may be called, and the models beside the services, which have names of their own."""

from __future__ import annotations

import re

SERVICE_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
OWN_MODELS = {"feedback": ("SERVICE", "TEXT", "LABEL"), "why": ("SERVICE", "TEXT")}
"""The models that speak for the store, of all services, and the inputs that each must have."""


def service_name(value: str) -> str:
    """The value, where a service may be called so; else `ValueError`."""
    if not SERVICE_NAME.fullmatch(value):
        raise ValueError(
            "a service's name is lower-case letters, digits and '-', begins with a letter, ≤ 63 long"
        )
    if value in OWN_MODELS:
        raise ValueError(f"there is a model {value!r} beside all services; choose another name")
    return value
