"""Names from earlier versions of this package, and the names that replaced them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .types import type_name

RENAMED: dict[str, dict[str, str]] = {
    "AALClassifier": {"taps": "attention_layers", "student_taps": "student_layers"},
    "TimmTeacher": {"taps": "layers"},
    "MMTeacher": {"taps": "layers"},
    "AttentionInPrediction": {"taps": "attention_layers"},
}


def renamed_arguments(key: str, part: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each old argument of a config part, with an error message that names the new one."""
    for old, new in RENAMED.get(type_name(part), {}).items():
        if old in part:
            yield old, f"{key}.{old}={part[old]!r}: this argument is now called {key}.{new}"


def moved_type(key: str, kind: Any) -> str | None:
    """The error message for `type='aal_plugin.AALClassifier'`, or None for any other type."""
    scope, _, name = kind.rpartition(".") if isinstance(kind, str) else ("", "", "")
    if scope != "aal_plugin":
        return None
    return f"{key}.type={kind!r}: this class has moved; use 'aal_plugin.mm.{name}'"


def moved_import(custom_imports: Any) -> str | None:
    """The error message for `custom_imports` of 'aal_plugin' alone, which registers nothing."""
    given = (custom_imports or {}).get("imports") or []
    names = [given] if isinstance(given, str) else list(given)
    if "aal_plugin" not in names or "aal_plugin.mm" in names:
        return None
    return (
        f"custom_imports.imports={given!r}: importing 'aal_plugin' no longer registers the "
        "classes; use 'aal_plugin.mm'"
    )
