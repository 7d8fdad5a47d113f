"""Converts families to the types of Prometheus' library."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from headrace.telemetry.families import Family, Metrics


class ServiceCollector(Collector):
    """A Prometheus collector that calls the service's metrics function at every scrape."""

    def __init__(self, source: Metrics) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics of the service."""
        return map(metric_of, self._source())

    def describe(self) -> list[Metric]:
        """Return nothing, so that the registry does not call a service that is still starting."""
        return []


def metric_of(family: Family) -> Metric:
    """Convert one family, whose samples have the same labels."""
    names = list(family.samples[0].labels) if family.samples else []
    if family.kind == "summary":
        summary = SummaryMetricFamily(family.name, family.help, labels=names)
        for sample in family.samples:
            summary.add_metric(list(sample.labels.values()), sample.number, sample.value)
        return summary
    metric = (GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily)(family.name, family.help, labels=names)
    for sample in family.samples:
        metric.add_metric(list(sample.labels.values()), sample.value)
    return metric


def registry_of(source: Metrics) -> CollectorRegistry:
    """Create a registry with a service's metrics, and with the library's metrics of the process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(ServiceCollector(source))
    return registry
