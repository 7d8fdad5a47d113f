"""The dashboard and the provisioning of Grafana are complete, and fit docker-compose.yml."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
GRAFANA = CHECKOUT / "observability" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "headrace.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SHOWING = [panel for panel in PANELS if panel["type"] != "row"]
COLUMNS = 24


def test_every_panel_says_what_it_shows() -> None:
    for panel in SHOWING:
        assert panel["title"], panel
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
    assert max(Counter(panel["title"] for panel in SHOWING).values()) == 1


def test_ids_and_references_are_unique() -> None:
    assert max(Counter(panel["id"] for panel in PANELS).values()) == 1
    for panel in SHOWING:
        assert max(Counter(target["refId"] for target in panel["targets"]).values()) == 1


def test_every_query_asks_the_chosen_data_source() -> None:
    [variable] = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    asked = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    for panel in SHOWING:
        assert [panel["datasource"], *(target["datasource"] for target in panel["targets"])] == [asked] * (1 + len(panel["targets"]))


def test_panels_fill_the_page_without_overlap() -> None:
    taken = Counter((x, y) for panel in PANELS for x, y in _cells(panel["gridPos"]))
    assert max(taken.values()) == 1
    rows = 1 + max(y for _, y in taken)
    assert len(taken) == COLUMNS * rows


def _cells(place: dict[str, int]) -> list[tuple[int, int]]:
    assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS
    return [(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]


def test_grafana_finds_what_compose_mounts() -> None:
    services = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    [provider] = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "headrace.yml").read_text())["providers"]
    assert mounts["./observability/grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./observability/grafana/provisioning"] == "/etc/grafana/provisioning"
    [source] = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    config = yaml.safe_load((CHECKOUT / "observability" / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == config["global"]["scrape_interval"]
