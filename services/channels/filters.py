"""Liquid filters for what people read: dates in their own time zone, money in their own notation."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime
from babel.numbers import UnknownCurrencyError, format_currency, get_currency_precision, validate_currency
from liquid import RenderContext, Token
from liquid.exceptions import FilterArgumentError
from liquid.filter import with_context
from liquid.undefined import UNDEFINED, is_undefined

DEFAULT_LOCALE = "en"
_LENGTHS = ("short", "medium", "long", "full")
_OUTERMOST = 4
"""Namespaces that a template has outside of loops and the like."""
_SPECIAL = frozenset(("size", "first", "last"))


class Context(RenderContext):
    """What a template sees, and for whom: a locale and a time zone."""

    __slots__ = ("locale", "zone")

    locale: str
    zone: tzinfo

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        # Nearly all that templates ask for is like `profile.name`, and found here in a fraction of the time. What isn't
        # found, or could be hidden by a variable of the template's own, goes the long way.
        if len(path) == 2 and not self.locals and self.scope.size() == _OUTERMOST:
            try:
                if path[1] not in _SPECIAL:
                    return self.globals[path[0]][path[1]]  # type: ignore[index]
            except (KeyError, TypeError, IndexError):
                pass
        return super().get(path, token=token, default=default)


@lru_cache(maxsize=512)
def locale_of(name: str) -> Locale:
    """The nearest locale we know to a BCP 47 or POSIX name."""
    parts = name.replace("-", "_").split("_")
    while parts:
        try:
            return Locale.parse("_".join(parts))
        except (UnknownLocaleError, ValueError):
            parts.pop()
    return Locale.parse(DEFAULT_LOCALE)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> tzinfo | None:
    """The IANA time zone of this name, if there is one."""
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, OSError, ValueError):
        return None


@with_context
def date(value: Any, form: Any = "medium", zone: Any = None, *, context: Context) -> str:
    """`{{ when | date: "long" }}`, `{{ when | date: "%H:%M", "Europe/Paris" }}`.

    The form is short, medium, long or full, as is usual in the person's locale; a strftime format; or a CLDR pattern,
    such as `d MMMM`. Without a zone, it's the person's.
    """
    when = _moment(value, context)
    form = str(form)
    if zone is not None:
        where = zone_of(str(zone))
        if where is None:
            raise FilterArgumentError(f"{str(zone)!r} is not a time zone", token=None)
        when = when.astimezone(where)
    if "%" in form:
        return when.strftime(form)
    if form in _LENGTHS:
        return format_date(when, form, locale=locale_of(context.locale))
    return format_datetime(when, form, locale=locale_of(context.locale))


def _moment(value: Any, context: Context) -> datetime:
    if isinstance(value, datetime):
        return value
    if is_undefined(value):
        str(value)  # says which one
    if isinstance(value, str):
        if value in ("now", "today"):
            now: datetime = context.resolve("now")
            return now
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise FilterArgumentError("date: the text is not a date such as 2026-03-01T09:00:00Z", token=None) from None
        # A date without a zone is a date on the wall of whoever reads it.
        return parsed.astimezone(context.zone) if parsed.tzinfo else parsed.replace(tzinfo=context.zone)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value, UTC).astimezone(context.zone)
    raise FilterArgumentError(f"date: expected a point in time, found {type(value).__name__}", token=None)


@with_context
def money(value: Any, currency: Any, *, context: Context) -> str:
    """`{{ event.total | money: "EUR" }}`: an amount in a currency (ISO 4217), as is usual in the person's locale."""
    code = str(currency).upper()
    try:
        validate_currency(code)
        amount = Decimal(str(value))
        digits = get_currency_precision(code)
        return format_currency(round(amount, digits), code, locale=locale_of(context.locale))
    except UnknownCurrencyError:
        raise FilterArgumentError(f"money: {code!r} is not a currency", token=None) from None
    except InvalidOperation:
        raise FilterArgumentError(f"money: expected a number, found {type(value).__name__}", token=None) from None
