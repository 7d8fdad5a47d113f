"""Families in the form of Prometheus' library."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from headrace.telemetry.families import Family, Metrics


class ServiceCollector(Collector):
    """Asks a service how it stands, at every scrape."""

    def __init__(self, source: Metrics) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Everything that it says."""
        return map(metric_of, self._source())

    def describe(self) -> list[Metric]:
        """Nothing yet: the registry is not to ask a service that only starts."""
        return []


def metric_of(family: Family) -> Metric:
    """One family; its samples have the same labels."""
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
    """A registry with what a service says, and what the library knows of its process."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    registry.register(ServiceCollector(source))
    return registry
