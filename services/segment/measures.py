"""The metrics of the segment service."""

from __future__ import annotations

from services.chassis.measures import CALLS_S
from services.chassis.metrics import Metric

ERASED_FACTS = Metric(
    "camino_segment_erased_facts_total",
    "counter",
    "Facts that came after their profile was erased, and were dropped for that.",
)
EVALUATION_ERRORS = Metric(
    "camino_segment_evaluation_errors_total",
    "counter",
    "Evaluations of a segment for a profile that failed: by `cause`, what they were for (`event`, `profile`, `time`,"
    " `edit`, `merge`), or `check` and `explain` for those inside a request. Memberships stay as they were last known.",
    ("cause",),
)
FAILING_PROFILES = Metric(
    "camino_segment_failing_profiles",
    "gauge",
    "Profiles that some segment can't be evaluated for, in all workspaces: the same number in each replica.",
)
COMPUTING = Metric(
    "camino_segment_computing",
    "gauge",
    "Workspaces whose profiles are being evaluated by new definitions, or checked for it once more, in the partitions"
    " that this replica works on.",
)
TOLD_CHANGES = Metric(
    "camino_segment_told_changes_total",
    "counter",
    "Entries and exits told by WatchMemberships, each as often as there was somebody to tell.",
)
WATCH_LAG = Metric(
    "camino_segment_watch_lag_seconds",
    "gauge",
    "How long ago that was published which the slowest caller of WatchMemberships at this replica is being told; 0 when"
    " all have been told. A caller that reads slowly holds up nobody else.",
)
WEBHOOK_DURATION = Metric(
    "camino_segment_webhook_duration_seconds",
    "histogram",
    "How long it took to post a message to a webhook, by what came of it: taken, refused (another status than 2xx), or"
    " unreached (no answer at all).",
    ("outcome",),
    CALLS_S,
)
WEBHOOK_LATENESS = Metric(
    "camino_segment_webhook_lateness_seconds",
    "histogram",
    "How long after its publication a change was taken by a webhook.",
    (),
    (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600, 3600, 21600, 86400),
)
WEBHOOK_FAILING_AGE = Metric(
    "camino_segment_webhook_failing_age_seconds",
    "gauge",
    "For how long the webhook that has failed for the longest has taken nothing, of the partitions that this replica"
    " works on; 0 if none fails. Those that are paused aren't counted.",
)
WEBHOOK_LOSSES = Metric(
    "camino_segment_webhook_losses_total",
    "counter",
    "How often changes weren't kept until a webhook took them. It's told that it must read the members anew.",
)
