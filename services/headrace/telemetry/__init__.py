"""What a service shows of itself: metrics for Prometheus, and whether it is healthy.

Services count in plain numbers; a `metrics.py` of each turns those into families when somebody asks. `headrace.telemetry.http`, which
answers Prometheus, is imported only where it does: it brings Prometheus' library with it.
"""

from headrace.telemetry.families import (
    LEADING,
    OTHER,
    Family,
    Metrics,
    Sample,
    Timing,
    Timings,
    counter,
    gauge,
    labelled,
    no_metrics,
    summary,
)

__all__ = ["LEADING", "OTHER", "Family", "Metrics", "Sample", "Timing", "Timings", "counter", "gauge", "labelled", "no_metrics", "summary"]
