"""The ensemble example without a cluster: its synthetic month, its statistics, its graph, and its picture."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from examples import ensemble

ROOT = Path(__file__).resolve().parents[2]
DAYS = 3


@pytest.fixture(scope="module")
def month() -> np.ndarray:
    """Three synthetic days, (day, hour, latitude, longitude), in kelvin."""
    return np.array([list(ensemble.synthesise_day(day)) for day in range(DAYS)])


@pytest.fixture(scope="module")
def results(month: np.ndarray) -> dict[str, np.ndarray]:
    """What a run would return for these days, by output name."""
    outputs = {}
    for hour in range(ensemble.HOURS):
        fields = list(month[:, hour])
        for statistic, (function, options) in ensemble.STATISTICS.items():
            outputs[ensemble.product_name(statistic, hour)] = function(fields, *options)
        for day, field in enumerate(fields, start=1):
            outputs[ensemble.product_name("anomaly", hour, day)] = ensemble.anomaly(field, outputs[f"mean-{hour:02}"])
    return outputs


def small_month() -> ensemble.Month:
    return ensemble.Month("three days", DAYS, ensemble.SYNTHETIC.latitudes, ensemble.SYNTHETIC.longitudes)


def test_the_synthetic_month_has_the_real_ones_shape_and_plausible_temperatures(month: np.ndarray) -> None:
    assert month.shape == (DAYS, 24, 33, 49)
    assert month.dtype == np.float32
    assert 255 < month.min() < month.max() < 305


def test_a_synthetic_day_is_the_same_every_time_and_unlike_the_next(month: np.ndarray) -> None:
    np.testing.assert_array_equal(month[1], list(ensemble.synthesise_day(1)))
    assert not np.array_equal(month[0], month[1])
    assert not np.array_equal(month[1], list(ensemble.synthesise_day(1, seed=7)))


def test_synthetic_land_warms_by_day_and_the_sea_does_not(month: np.ndarray) -> None:
    days = month.mean(axis=0)
    inland, at_sea = days[:, 24, 34], days[:, 4, 44]
    assert inland.argmax() in range(12, 19)
    assert np.ptp(inland) > 2 * np.ptp(at_sea)


def test_synthetic_weather_passes_midnight_without_a_jump(month: np.ndarray) -> None:
    inland = month[:, :, 20:28, 30:38].mean(axis=(2, 3)).ravel()
    steps = np.abs(np.diff(inland))
    midnights = steps[ensemble.HOURS - 1 :: ensemble.HOURS]
    assert midnights.max() < np.delete(steps, np.s_[ensemble.HOURS - 1 :: ensemble.HOURS]).max()


def test_statistics_are_those_of_numpy_in_float64(month: np.ndarray) -> None:
    fields = list(month[:, 6])
    exact = month[:, 6].astype(np.float64)
    np.testing.assert_allclose(ensemble.mean(fields), exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(ensemble.deviation(fields), exact.std(axis=0), rtol=1e-9)
    np.testing.assert_allclose(ensemble.percentile(fields, 10), np.percentile(exact, 10, axis=0), rtol=1e-12)
    np.testing.assert_array_equal(ensemble.frost(fields), (exact < 273.15).mean(axis=0))
    assert ensemble.mean(fields).dtype == np.float64


def test_frost_is_strictly_below_freezing() -> None:
    fields = [np.full((2, 2), kelvin) for kelvin in (273.15, 273.14, 280.0, 260.0)]
    np.testing.assert_array_equal(ensemble.frost(fields), np.full((2, 2), 0.5))


def test_the_graph_has_every_product_once_with_its_metadata() -> None:
    graph = ensemble.build_graph(small_month())
    products = {graph.task_name(task): graph.task_metadata(task) for task in range(DAYS, len(graph))}
    counts = Counter(metadata["statistic"] for metadata in products.values())
    assert counts == dict.fromkeys(("mean", "std", "p10", "p50", "p90", "frost"), 24) | {"anomaly": 24 * DAYS}
    assert products["p90-06"] == {"param": "2t", "statistic": "p90", "hour": 6}
    assert products["anomaly-06-03"] == {"param": "2t", "statistic": "anomaly", "hour": 6, "day": 3}


def test_a_real_month_is_indexed_once_and_read_by_day() -> None:
    synthetic = ensemble.build_graph(small_month())
    real = ensemble.build_graph(ensemble.Month("", DAYS, np.zeros(1), np.zeros(1), Path("t2m.grib")))
    assert real.task_name(0) == "open"
    assert len(real) == len(synthetic) + 1


def test_products_are_arranged_by_statistic(results: dict[str, np.ndarray], month: np.ndarray) -> None:
    products = ensemble.arrange(results, DAYS)
    assert {name: values.shape[:-2] for name, values in products.items()} == dict.fromkeys(ensemble.STATISTICS, (24,)) | {
        "anomaly": (DAYS, 24)
    }
    np.testing.assert_allclose(products["anomaly"], month - month.mean(axis=0, dtype=np.float64))


def test_the_table_names_every_statistic(results: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]) -> None:
    ensemble.print_table(small_month(), ensemble.arrange(results, DAYS))
    printed = capsys.readouterr().out
    rows = {cells[0]: cells for cells in ([cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines()) if cells}
    assert rows.keys() == {*ensemble.STATISTICS, "anomaly"}
    assert rows["anomaly"][1:3] == ["72", "33 x 49"]
    assert rows["frost"][-1] == "1"


def test_the_picture_is_a_png(results: dict[str, np.ndarray], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra `weather`")
    from matplotlib.image import imread

    path = tmp_path / "month.png"
    said = ensemble.write_picture(path, small_month(), ensemble.arrange(results, DAYS))
    assert str(path) in said
    pixels = imread(path)
    assert pixels.shape[0] > 1000
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 500


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = ensemble.write_picture(tmp_path / "no.png", small_month(), {})
    assert "headrace[weather]" in said
    assert not list(tmp_path.iterdir())


def test_a_runner_that_loads_the_module_pays_for_no_plotting_and_no_grib() -> None:
    heavy = "sorted({'matplotlib', 'xarray', 'cfgrib', 'pandas', 'rich'} & sys.modules.keys())"
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, examples.ensemble; print({heavy})"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        ensemble.main(["--grib", str(tmp_path / "none.grib")])
    assert "none.grib: no such file" in capsys.readouterr().err


def test_it_starts_as_a_script() -> None:
    shown = subprocess.run([sys.executable, "examples/ensemble.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--grib" in shown.stdout
