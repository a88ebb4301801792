"""Why somebody is in a segment, or isn't, as an operator looks at it."""

from __future__ import annotations

from collections.abc import Iterable

from camino.segment.v1 import segment_pb2
from camino.segment.v1.segment_events_pb2 import MembershipChanged
from camino.segment.v1.segment_pb2 import (
    CONDITION_VERDICT_FALSE,
    CONDITION_VERDICT_TRUE,
    ExplainedCondition,
    Membership,
    MembershipExplanation,
)
from rich.text import Text
from rich.tree import Tree

from cli import output

_STYLES = {CONDITION_VERDICT_TRUE: "green", CONDITION_VERDICT_FALSE: "red"}
_ENOUGH = 60


def show(profile_id: str, found: MembershipExplanation, at: str = "") -> None:
    """The whole first, then what it comes from, then what happened before; `at` is the instant that was asked for, if
    any."""
    output.say(f"profile {profile_id} {_standing(found)}")
    if found.HasField("condition"):
        output.show(_tree(found.condition))
    if found.HasField("membership"):
        output.say(f"today: {history(found.membership)}" if at else history(found.membership))


def history(held: Membership) -> str:
    """The last entry and exit, and what brought about the later one."""
    told = [
        f"{what} {output.instant(at)}"
        for what, at in (("entered", held.enter_time), ("left", held.exit_time))
        if at.seconds
    ]
    line = ", ".join(told) or "never a member"
    if because := _because(held):
        line += f", {because}"
    if held.evaluation_error:
        line += f"; not evaluated since: {held.evaluation_error}"
    return line


def transitions(told: Iterable[MembershipChanged], most: int, until: str = "") -> None:
    """A table of entries and exits, newest first, of which there are up to so many; `until` an instant, if they're told
    from there back."""
    title = f"last {most} entries and exits" + (f" until {until}" if until else "")
    output.table(title, ("at", "segment", "what", "because", "profile"), map(_transition, told))


def _transition(one: MembershipChanged) -> tuple[str, ...]:
    what = "entered" if one.member else "left"
    return output.instant(one.effective_at), one.segment_id, what, _because(one), one.profile_id


def _standing(found: MembershipExplanation) -> str:
    if found.evaluation_error:
        return f"can't be evaluated: {found.evaluation_error}"
    standing = "is a member" if found.member else "isn't a member"
    condition = found.condition
    if found.HasField("condition") and condition.verdict not in _STYLES:
        meaning = "a member" if found.missing == segment_pb2.MISSING_TRUE else "no member"
        standing += f": it's unknown, and that means {meaning}"
    return f"{standing}, at {output.instant(found.evaluate_time)} by version {found.segment_version}"


def _because(what: Membership | MembershipChanged) -> str:
    cause = output.enum_name(what, "cause")
    if not cause:
        return ""
    return f"by {cause} {what.event_id}".rstrip() + f" and version {what.segment_version}"


def _tree(condition: ExplainedCondition) -> Tree:
    tree = Tree(_line(condition))
    for inner in condition.conditions:
        tree.add(_tree(inner))
    return tree


def _line(condition: ExplainedCondition) -> Text:
    verdict = output.enum_name(condition, "verdict")
    words = condition.condition
    if condition.conditions and len(words) > _ENOUGH:
        # What is in it stands below it.
        words = words[:_ENOUGH] + "…"
    line = Text.assemble((f"{verdict:<7} ", _STYLES.get(condition.verdict, "yellow")), words)
    if condition.looked_at:
        line.append(f"   is {condition.looked_at}", style="bold")
    if condition.HasField("until"):
        line.append(f"   until {output.instant(condition.until)}", style="dim")
    return line
