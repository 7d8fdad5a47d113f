"""Metrics for Prometheus, the health check, and traces of a service.

Services count in plain numbers. The `metrics.py` of each service turns the numbers into families at every scrape. Only services that answer
Prometheus import `headrace.telemetry.http`, because it imports Prometheus' library.
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
