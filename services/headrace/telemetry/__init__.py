"""What a service shows of itself: metrics for Prometheus, and whether it is healthy."""

from headrace.telemetry.http import HttpEndpoint

__all__ = ["HttpEndpoint"]
