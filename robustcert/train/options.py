"""A trainer's options from words such as ``lambda=0.1``.

Options are a frozen dataclass whose fields all have defaults. A field that is such a
dataclass itself is a group: its fields are named as if they were the row's own.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from robustcert.errors import UnknownNameError, UsageError

T = TypeVar("T")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}
_LIST = "See `robustcert train list` for the options and their defaults."


def options_from_words(kind: type[T], words: Sequence[str]) -> T:
    """Options of ``kind`` with the fields that the words set.

    Args:
        kind: its fields are numbers, words, truth values, enumerations of words, one of
            these or nothing, or groups.
        words: each ``name=value``; a field ``lambda_`` is called ``lambda``, and ``-``
            stands for ``_``.

    Raises:
        UnknownNameError: no field has that name.
        UsageError: a value is not of its field's type, or is refused by ``kind``.
    """
    defaults = kind()
    known = options_in_words(defaults)
    given: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or said(name) not in known:
            raise UnknownNameError(
                f"{word!r} sets no option; there are {', '.join(known) or 'none'}",
                remedy="Give options as name=value.",
            )
        given[said(name)] = text.strip()
    options: T = _with(defaults, given)
    return options


def options_in_words(options: object) -> dict[str, Any]:
    """The options by the names that users know, as JSON holds them."""
    found: dict[str, Any] = {}
    for field in fields(options):  # type: ignore[arg-type] # a dataclass of any kind
        value = getattr(options, field.name)
        if is_dataclass(value):
            found |= options_in_words(value)
        else:
            plain = value.value if isinstance(value, enum.Enum) else value
            found[said(field.name)] = plain
    return found


def said(field: str) -> str:
    """A field's name as users say it."""
    return field.strip().rstrip("_").replace("_", "-")


def _with(options: Any, given: dict[str, str]) -> Any:  # noqa: ANN401 - any options
    hints = get_type_hints(type(options))
    changes: dict[str, Any] = {}
    for field in fields(options):
        value, name = getattr(options, field.name), said(field.name)
        if is_dataclass(value):
            changes[field.name] = _with(value, given)
        elif name in given:
            changes[field.name] = _value(name, given[name], hints[field.name])
    return replace(options, **changes)


def _value(name: str, text: str, kind: Any) -> Any:  # noqa: ANN401 - a type and its value
    if isinstance(kind, UnionType):
        if text == "none":
            return None
        kind = next(each for each in get_args(kind) if each is not NoneType)
    try:
        return _TRUTH[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"the option {name} is {text!r}, which is no {_wanted(kind)}", remedy=_LIST
        ) from error


def _wanted(kind: Any) -> str:  # noqa: ANN401 - a type
    if kind is bool:
        return "truth value: true or false"
    if issubclass(kind, enum.Enum):
        return "such word: " + ", ".join(str(each.value) for each in kind)
    return {int: "integer", float: "number"}.get(kind, "value")
