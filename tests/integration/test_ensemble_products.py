"""The ensemble example on a cluster: every product equals what plain xarray and numpy make of the same fields."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import nats
import numpy as np
import pytest

import headrace as hr
from examples import ensemble
from headrace_schemas import Output, Published, streams, subjects

ROOT = Path(__file__).resolve().parents[2]
ERA5 = "weather/era5-2mt-2019-03-uk.grib"
RTOL = 1e-6
ATOL = 1e-9  # K; an anomaly may be as good as zero, where a relative tolerance says nothing
ANNOUNCED_WITHIN = 10.0  # seconds after the last value: the publisher is not on the way of values to the client


@pytest.fixture(scope="module")
def cluster() -> Iterator[hr.Cluster]:
    with hr.Cluster.local(hosts=2, runners=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def grib(shared_data: Callable[[str], Path]) -> Path:
    pytest.importorskip("cfgrib", reason="real fields need the extra `weather`")
    return shared_data(ERA5)


def by_xarray(grib: Path) -> dict[str, np.ndarray]:
    """The products as a person would make them of the whole month at once, (hour, y, x), the anomaly (day, hour, y, x)."""
    import xarray

    with xarray.open_dataset(grib, engine="cfgrib", backend_kwargs={"indexpath": ""}) as dataset:
        kelvin = dataset["t2m"].astype(np.float64).load()
    hours = kelvin.groupby("time.hour")
    products = {"mean": hours.mean("time"), "std": hours.std("time")}
    products |= {f"p{percent}": hours.quantile(percent / 100, dim="time").drop_vars("quantile") for percent in (10, 50, 90)}
    products |= {"frost": (kelvin < 273.15).groupby("time.hour").mean("time")}
    anomaly = (hours - products["mean"]).transpose("time", "latitude", "longitude")
    arrays = {name: product.transpose("hour", "latitude", "longitude").values for name, product in products.items()}
    return arrays | {"anomaly": anomaly.values.reshape(-1, 24, *anomaly.shape[1:])}


def by_numpy(fields: np.ndarray) -> dict[str, np.ndarray]:
    """The same of an array (day, hour, y, x)."""
    kelvin = fields.astype(np.float64)
    p10, p50, p90 = np.percentile(kelvin, (10, 50, 90), axis=0)
    frost = (kelvin < 273.15).mean(axis=0)
    anomaly = kelvin - kelvin.mean(axis=0)
    return {"mean": kelvin.mean(axis=0), "std": kelvin.std(axis=0), "p10": p10, "p50": p50, "p90": p90, "frost": frost, "anomaly": anomaly}


def compare(results: Mapping[str, Any], days: int, expected: Mapping[str, np.ndarray]) -> None:
    """Every product there is, by value, and no other."""
    assert len(results) == 24 * (len(ensemble.STATISTICS) + days)
    products = ensemble.arrange(results, days)
    assert products.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(products[name], values, rtol=RTOL, atol=ATOL, err_msg=name)


async def announcements(url: str, token: str, job: str, count: int) -> list[Output]:
    """What the OUTPUTS stream tells a stranger of this job, once it has told of so many outputs."""
    connection = await nats.connect(url, token=token)
    subscription = await connection.jetstream().subscribe(subjects.output(job), stream=streams.OUTPUTS.name, ordered_consumer=True)
    outputs: list[Output] = []
    async with asyncio.timeout(ANNOUNCED_WITHIN):
        while len(outputs) < count:
            outputs += msgspec.json.decode((await subscription.next_msg(timeout=None)).data, type=Published).outputs
    await connection.close()
    return outputs


def expected_metadata(days: int) -> dict[str, dict[str, Any]]:
    """By output name."""
    wanted = {}
    for hour in range(24):
        for statistic in ("mean", "std", "p10", "p50", "p90", "frost"):
            wanted[f"{statistic}-{hour:02}"] = {"param": "2t", "statistic": statistic, "hour": hour}
        for day in range(1, days + 1):
            wanted[f"anomaly-{hour:02}-{day:02}"] = {"param": "2t", "statistic": "anomaly", "hour": hour, "day": day}
    return wanted


def test_a_real_month_is_what_xarray_makes_of_it(cluster: hr.Cluster, grib: Path) -> None:
    month = ensemble.describe_grib(grib)
    assert (month.title, month.days, month.latitudes[0], month.longitudes[0]) == ("March 2019", 31, 58.0, -10.0)
    results = cluster.submit(ensemble.build_graph(month)).results()
    compare(results, month.days, by_xarray(grib))


def test_a_synthetic_month_is_what_numpy_makes_of_it(cluster: hr.Cluster) -> None:
    results = cluster.submit(ensemble.build_graph()).results()
    fields = np.array([list(ensemble.synthesise_day(day)) for day in range(31)])
    compare(results, 31, by_numpy(fields))


def test_every_product_is_announced_once_with_its_metadata(cluster: hr.Cluster) -> None:
    month = ensemble.Month("two days", 2, ensemble.SYNTHETIC.latitudes, ensemble.SYNTHETIC.longitudes)
    job = cluster.submit(ensemble.build_graph(month))
    job.results()
    wanted = expected_metadata(month.days)
    announced = asyncio.run(announcements(cluster.url, cluster.token, job.id, len(wanted)))
    assert len(announced) == len(wanted)
    assert {output.name: output.metadata for output in announced} == wanted


def test_the_script_prints_what_it_did_and_writes_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra `weather`")
    picture = tmp_path / "month.png"
    command = [sys.executable, str(ROOT / "examples" / "ensemble.py"), "--png", str(picture)]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert shown.returncode == 0, shown.stderr
    assert "919 tasks in" in shown.stdout
    assert "tasks/s" in shown.stdout
    assert "\x1b" not in shown.stdout + shown.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["month.png"]


def test_a_file_that_does_not_hold_whole_days_is_refused(grib: Path, tmp_path: Path) -> None:
    fields = grib.read_bytes()
    end = 0
    for _ in range(30):
        start = fields.index(b"GRIB", end)  # there is padding between messages
        end = start + int.from_bytes(fields[start + 4 : start + 7], "big")  # octets 5 to 7: the message's length
    short = tmp_path / "short.grib"
    short.write_bytes(fields[:end])
    with pytest.raises(ValueError, match="found 30 from 2019-03-01T00"):
        ensemble.describe_grib(short)
