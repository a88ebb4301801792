"""What a template sees: names with their values, and how dates and amounts are written for a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import UnknownCurrencyError, format_currency, get_currency_precision, validate_currency
from camino.testing.fake.values import value_of
from camino.type.v1 import value_pb2
from liquid import RenderContext
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context
from liquid.undefined import is_undefined

ROOTS = frozenset(("profile", "event", "message", "now", "today"))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LENGTHS = ("short", "medium", "long", "full")
_LOCALE = "en"

Values = Mapping[str, value_pb2.Value]


def names(profile: Values, event: Values, now: int) -> dict[str, Any]:
    """The names of a template that is rendered for nobody in particular."""
    zone = _zone(profile["time_zone"].string_value) if "time_zone" in profile else UTC
    present = (_EPOCH + timedelta(microseconds=now)).astimezone(zone)
    return {
        "profile": {**_nested(profile, zone), "id": "profile"},
        "event": _nested(event, zone),
        "message": {"id": "message", "topic": "topic"},
        "now": present,
        "today": present,
    }


def _nested(values: Values, zone: tzinfo) -> dict[str, Any]:
    """A dotted name nests: `address.city` is the `city` of `address`, unless there is an `address` itself."""
    shown: dict[str, Any] = {name: _shown(value, zone) for name, value in values.items()}
    for name in values:
        *parents, last = name.split(".")
        inside = shown
        for parent in parents:
            inside = inside.setdefault(parent, {}) if isinstance(inside, dict) else {}
        if parents and isinstance(inside, dict):
            inside.setdefault(last, shown[name])
    return shown


def _shown(wire: value_pb2.Value, zone: tzinfo) -> Any:
    """Whole numbers without a fraction, instants in the person's zone."""
    value = value_of(wire)
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if type(value) is int:
        return (_EPOCH + timedelta(microseconds=value)).astimezone(zone)
    return list(value) if isinstance(value, tuple) else value


@with_context
def date(value: Any, form: Any = "medium", zone: Any = None, *, context: RenderContext) -> str:
    """`{{ when | date: "long" }}`: a length that is usual in the person's locale, a strftime format, or a CLDR
    pattern. Without a zone, in the person's."""
    when, form = _moment(value, context), str(form)
    if zone is not None:
        try:
            when = when.astimezone(ZoneInfo(str(zone)))
        except (ZoneInfoNotFoundError, OSError, ValueError):
            raise FilterArgumentError(f"{str(zone)!r} is not a time zone", token=None) from None
    if "%" in form:
        return when.strftime(form)
    if form in _LENGTHS:
        return format_date(when, form, locale=_locale(context))
    return format_datetime(when, form, locale=_locale(context))


@with_context
def money(value: Any, currency: Any, *, context: RenderContext) -> str:
    """`{{ event.total | money: "EUR" }}`: an amount in a currency (ISO 4217), as is usual in the person's locale."""
    code = str(currency).upper()
    try:
        validate_currency(code)
        amount = round(Decimal(str(value)), get_currency_precision(code))
        return format_currency(amount, code, locale=_locale(context))
    except UnknownCurrencyError:
        raise FilterArgumentError(f"money: {code!r} is not a currency", token=None) from None
    except InvalidOperation:
        raise FilterArgumentError(f"money: expected a number, found {type(value).__name__}", token=None) from None


def _moment(value: Any, context: RenderContext) -> datetime:
    if isinstance(value, datetime):
        return value
    if is_undefined(value):
        str(value)  # raises, and says which one
    zone = context.globals["now"].tzinfo  # type: ignore[attr-defined]
    if isinstance(value, str):
        if value in ("now", "today"):
            now: datetime = context.globals["now"]  # type: ignore[assignment]
            return now
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise FilterArgumentError("date: the text is not a date such as 2026-03-01T09:00:00Z", token=None) from None
        # A date without a zone is a date on the wall of whoever reads it.
        return parsed.astimezone(zone) if parsed.tzinfo else parsed.replace(tzinfo=zone)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).astimezone(zone)
    raise FilterArgumentError(f"date: expected a point in time, found {type(value).__name__}", token=None)


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return UTC


def _locale(context: RenderContext) -> Locale:
    """The nearest that is known to the person's."""
    profile: Any = context.globals["profile"]
    parts = str(profile.get("locale", "")).replace("-", "_").split("_")
    while parts:
        try:
            return Locale.parse("_".join(parts))
        except (UnknownLocaleError, ValueError):
            parts.pop()
    return Locale.parse(_LOCALE)
