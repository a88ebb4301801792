"""The metrics of the segment service."""

from __future__ import annotations

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
