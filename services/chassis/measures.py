"""The metrics that every service has."""

from __future__ import annotations

from services.chassis.metrics import Metric

CALLS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_STORE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LATE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
_MESSAGES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)

BUILD_INFO = Metric("camino_build_info", "gauge", "Always 1; the labels tell what runs.", ("service", "version"))
SERVING = Metric("camino_serving", "gauge", "1 while grpc.health.v1 says SERVING, else 0.")
PROBE_UP = Metric(
    "camino_probe_up", "gauge", "1 while a part that the service stands on answers its probe, else 0.", ("probe",)
)

RPC_DURATION = Metric(
    "camino_rpc_duration_seconds",
    "histogram",
    "How long calls took that ended with a gRPC status; of a stream, each request counts as a call. Of one that is"
    " answered with responses as they come, until the first; OK if it ended because a stream's time was over.",
    ("method", "status"),
    CALLS_S,
)
RPC_IN_FLIGHT = Metric(
    "camino_rpc_in_flight",
    "gauge",
    "Calls being answered now; of a stream, its requests that have no answer yet.",
    ("method",),
)
RPC_STREAMS = Metric("camino_rpc_streams", "gauge", "Streams that are open now.", ("method",))

CONSUMER_LAG = Metric(
    "camino_consumer_lag",
    "gauge",
    "Messages not yet delivered, or delivered and not yet acknowledged, in the partitions that this replica works on; a"
    " consumer without partitions is shared, and every replica tells all of it.",
    ("consumer",),
)
CONSUMER_BATCH = Metric(
    "camino_consumer_batch_messages", "histogram", "How many messages were handled at once.", ("consumer",), _MESSAGES
)
CONSUMER_DURATION = Metric(
    "camino_consumer_duration_seconds",
    "histogram",
    "How long a batch took, from the messages at hand to their acknowledgement.",
    ("consumer",),
    CALLS_S,
)
CONSUMER_HANDLED = Metric(
    "camino_consumer_handled_total",
    "counter",
    "Messages by what became of them: handled, given back to be delivered again (retry), kept as dead letters (dead).",
    ("consumer", "outcome"),
)
DEAD_LETTERS_KEPT = Metric(
    "camino_dead_letters", "gauge", "Dead letters kept now, in the whole service: every replica tells the same."
)
DEAD_LETTERS_ADDED = Metric("camino_dead_letters_total", "counter", "Messages that became dead letters.", ("consumer",))

PUBLISH_DURATION = Metric(
    "camino_publish_duration_seconds",
    "histogram",
    "How long the broker took to confirm a batch of facts, or it took to give up.",
    (),
    CALLS_S,
)
OUTBOX_AGE = Metric(
    "camino_outbox_age_seconds",
    "gauge",
    "How long the oldest fact that this replica knows to be unpublished has waited; 0 if there is none.",
)

TIMER_LATENESS = Metric(
    "camino_timer_lateness_seconds",
    "histogram",
    "How long after its instant a document that was due was acted on.",
    ("loop",),
    _LATE_S,
)
STORE_DURATION = Metric(
    "camino_store_duration_seconds",
    "histogram",
    "How long an operation of the store took, the whole batch of it, failed ones too.",
    ("collection", "operation"),
    _STORE_S,
)
LEASES_HELD = Metric("camino_leases_held", "gauge", "Partitions that this replica holds the lease of.")
LOOP_FAILURES = Metric(
    "camino_loop_failures_total", "counter", "How often a background loop failed and was started again.", ("loop",)
)
