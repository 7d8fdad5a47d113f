"""A month of 2 m temperature by hour of day: the climate of each hour, and each day's difference from it.

Every hour of the day has one field per day of the month. From those fields the graph computes the mean, the standard
deviation, the 10th, 50th and 90th percentiles and the probability of frost of that hour. For each day it also computes
the anomaly: the day's field minus the mean. No field is written to a disk on the way, and tasks use each field of a day
as soon as it is read.

    python examples/ensemble.py                                # a synthetic month
    python examples/ensemble.py --grib era5-2t.grib --png t.png   # a real one; needs: pip install 'headrace[weather]'
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import headrace as hr

Field = npt.NDArray[np.floating[Any]]  # (latitude, longitude), kelvin unless said otherwise

HOURS = 24
FREEZING = 273.15  # K


# ---------------------------------------------------------------- reading a month


@dataclass(frozen=True)
class Month:
    """The days of a month and the grid of its fields. `grib` is None for synthetic fields."""

    title: str
    days: int
    latitudes: npt.NDArray[np.float64]  # degrees north, from north to south
    longitudes: npt.NDArray[np.float64]  # degrees east
    grib: Path | None = None


def open_month(grib: str) -> Any:
    """Index a GRIB file once, as an xarray.DataArray (time, latitude, longitude) that has read no field yet and is small to send."""
    import xarray

    return xarray.open_dataset(grib, engine="cfgrib", backend_kwargs={"indexpath": ""})["t2m"]


def read_day(month: Any, day: int) -> Iterator[Field]:
    """Yield the day's 24 fields as they are stored: float32, in kelvin."""
    yield from month[day * HOURS : (day + 1) * HOURS].values


def describe_grib(grib: Path) -> Month:
    """Read the grid and the dates of a file of hourly 2 m temperature. Raises ValueError unless it holds whole days from midnight UTC."""
    month = open_month(str(grib))
    hours = np.atleast_1d(month["time"].values).astype("datetime64[h]")
    whole_days = len(hours) // HOURS
    expected = hours[0].astype("datetime64[D]").astype("datetime64[h]") + np.arange(whole_days * HOURS)
    if whole_days == 0 or not np.array_equal(hours, expected):
        raise ValueError(
            f"{grib}: expected one field for each hour of whole days from 00 UTC, found {len(hours)} from {hours[0]} to {hours[-1]}"
        )
    title = f"{hours[0].astype(object):%B %Y}"
    return Month(title, whole_days, month["latitude"].values, month["longitude"].values, grib.resolve())


# ---------------------------------------------------------------- a synthetic month

SYNTHETIC = Month("a synthetic month", 31, np.linspace(58.0, 50.0, 33), np.linspace(-10.0, 2.0, 49))

ISLANDS = (  # centre and half-widths in degrees: latitude, longitude, north-south, east-west
    (52.0, -1.0, 1.3, 2.5),
    (53.8, -1.8, 2.0, 1.2),
    (55.4, -3.4, 1.0, 1.5),
    (57.0, -4.4, 1.5, 1.8),
    (52.3, -3.9, 0.9, 0.9),
    (50.8, -3.6, 0.6, 1.7),
    (53.3, -7.8, 1.8, 1.7),
    (49.8, 1.6, 0.6, 1.1),
)
HIGHLANDS = (57.0, -4.4, 0.9, 1.4)


def synthesise_day(day: int, seed: int = 2019, grid: tuple[int, int] = (33, 49)) -> Iterator[Field]:
    """Yield 24 made-up fields (float32, kelvin) in which land warms by day and cools by night under weather that drifts east."""
    latitude = np.linspace(58.0, 50.0, grid[0])[:, None]
    longitude = np.linspace(-10.0, 2.0, grid[1])[None, :]
    ragged = latitude + 0.2 * np.sin(3.1 * longitude + latitude), longitude + 0.4 * np.sin(2.9 * latitude)
    land = np.max([blob(*ragged, *island) for island in ISLANDS], axis=0)
    climate = 282.0 - 0.35 * (latitude - 54.0) - 1.2 * land - 3.0 * blob(*ragged, *HIGHLANDS)
    noise = np.random.default_rng((seed, day))
    for hour in range(HOURS):
        days = day + hour / HOURS
        diurnal = -3.2 * clearness(days, seed) * land * np.cos(2 * np.pi * (hour - 3) / HOURS)
        field = climate + 0.06 * days + diurnal + weather(latitude, longitude, days, seed) + noise.normal(0.0, 0.15, grid)
        yield field.astype(np.float32)


def blob(latitude: Field, longitude: Field, north: float, east: float, height: float, width: float) -> Field:
    """Return 1 inside an ellipse and 0 outside, with a soft edge."""
    distance = ((latitude - north) / height) ** 2 + ((longitude - east) / width) ** 2
    return 0.5 + 0.5 * np.tanh(3.0 * (1.0 - distance))


def clearness(days: float, seed: int) -> float:
    """Return how strongly the sun warms and the night cools, 1 on average: drawn at random for each midnight, and interpolated between."""
    midnights = int(days), int(days) + 1
    return float(np.interp(days, midnights, [np.random.default_rng((seed, day, 1)).uniform(0.5, 1.5) for day in midnights]))


def weather(latitude: Field, longitude: Field, days: float, seed: int, waves: int = 7) -> Field:
    """Return warm and cold air in kelvin: a sum of waves, 10 to 40 degrees long, that take 3 to 9 days to pass."""
    chance = np.random.default_rng(seed)
    length, tilt, period, phase = chance.uniform([10, -0.6, 3, 0], [40, 0.6, 9, 2 * np.pi], (waves, 4)).T
    turns = (longitude[..., None] + tilt * latitude[..., None]) / length - days / period
    return 1.5 * np.cos(2 * np.pi * turns + phase).sum(axis=-1)


# ---------------------------------------------------------------- the statistics and their graph


def mean(fields: Sequence[Field]) -> Field:
    """Return the mean over the days, in kelvin. Like all statistics here it adds in float64, whatever the type of the fields."""
    return np.mean(fields, axis=0, dtype=np.float64)


def deviation(fields: Sequence[Field]) -> Field:
    """Return the standard deviation over the days (of the population, not a sample), in kelvin."""
    return np.std(fields, axis=0, dtype=np.float64)


def percentile(fields: Sequence[Field], percent: float) -> Field:
    """Return the percentile over the days, in kelvin, linear between neighbours."""
    return np.percentile(np.stack(fields, dtype=np.float64), percent, axis=0)


def frost(fields: Sequence[Field]) -> Field:
    """Return the fraction of days, 0 to 1, with frost at this hour."""
    return np.mean(np.stack(fields, dtype=np.float64) < FREEZING, axis=0)


def anomaly(field: Field, climate: Field) -> Field:
    """Return the difference from the mean of its hour, in kelvin."""
    return field - climate


STATISTICS: Mapping[str, tuple[Callable[..., Field], tuple[float, ...]]] = {
    "mean": (mean, ()),
    "std": (deviation, ()),
    "p10": (percentile, (10.0,)),
    "p50": (percentile, (50.0,)),
    "p90": (percentile, (90.0,)),
    "frost": (frost, ()),
}
UNITS = dict.fromkeys(STATISTICS, "K") | {"frost": "1", "anomaly": "K"}


def build_graph(month: Month = SYNTHETIC) -> hr.Graph:
    """Build the month's graph: one loading task per day, six statistics per hour, one anomaly per hour and day."""
    graph = hr.Graph("ensemble")
    days = add_days(graph, month)
    for hour in range(HOURS):
        fields = [day[hour] for day in days]
        climate = add_statistics(graph, hour, fields)
        for day, field in enumerate(fields, start=1):
            metadata = {"param": "2t", "statistic": "anomaly", "hour": hour, "day": day}
            graph.output(graph.add(anomaly, field, climate, name=product_name("anomaly", hour, day), metadata=metadata))
    return graph


def add_days(graph: hr.Graph, month: Month) -> list[Any]:
    """Add one generator task per day. Its 24 fields are separate datasets, each available as soon as it is read."""
    if month.grib is None:
        return [graph.add(synthesise_day, day, outputs=HOURS, name=f"load-{day + 1:02}") for day in range(month.days)]
    opened = graph.add(open_month, str(month.grib), name="open")
    return [graph.add(read_day, opened, day, outputs=HOURS, name=f"load-{day + 1:02}") for day in range(month.days)]


def add_statistics(graph: hr.Graph, hour: int, fields: list[Any]) -> Any:
    """Request every statistic of one hour of day; returns the node of the mean."""
    nodes = {}
    for statistic, (function, options) in STATISTICS.items():
        metadata = {"param": "2t", "statistic": statistic, "hour": hour}
        nodes[statistic] = graph.add(function, fields, *options, name=product_name(statistic, hour), metadata=metadata)
        graph.output(nodes[statistic])
    return nodes["mean"]


def product_name(statistic: str, hour: int, day: int | None = None) -> str:
    """The name of an output: mean-06, anomaly-06-31."""
    return f"{statistic}-{hour:02}" if day is None else f"{statistic}-{hour:02}-{day:02}"


def arrange(results: Mapping[str, Field], days: int) -> dict[str, Field]:
    """Stack the results by statistic: (hour, latitude, longitude), and (day, hour, latitude, longitude) for the anomaly."""
    products = {name: np.stack([results[product_name(name, hour)] for hour in range(HOURS)]) for name in STATISTICS}
    by_day = [[results[product_name("anomaly", hour, day)] for hour in range(HOURS)] for day in range(1, days + 1)]
    return products | {"anomaly": np.array(by_day)}


# ---------------------------------------------------------------- the program


def run(month: Month, hosts: int, runners: int) -> tuple[dict[str, Field], str]:
    """Run the month's graph on a local cluster; returns the products and a sentence about speed and memory."""
    graph = build_graph(month)
    with hr.Cluster.local(hosts=hosts, runners=runners) as cluster:
        start = time.perf_counter()
        results = cluster.submit(graph).results()
        seconds = time.perf_counter() - start
        peak = cluster.peak_memory()
    tasks = len(graph)
    speed = f"{tasks} tasks in {seconds:.2f} s, {tasks / seconds:,.0f} tasks/s (hosts: {hosts}, runners on each: {runners})"
    return arrange(results, month.days), f"{speed}; peak memory of all processes together: {peak / 2**20:,.0f} MiB"


def print_table(month: Month, products: Mapping[str, Field]) -> None:
    """Print a summary of each statistic's outputs."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"2 m temperature by hour of day, {month.title}", title_justify="left")
    table.add_column("statistic")
    for column in ("outputs", "shape", "min", "mean", "max"):
        table.add_column(column, justify="right")
    table.add_column("units")
    for statistic, values in products.items():
        outputs, shape = values.shape[:-2], values.shape[-2:]
        numbers = (f"{number:.2f}" for number in (values.min(), values.mean(), values.max()))
        table.add_row(statistic, str(math.prod(outputs)), "{} x {}".format(*shape), *numbers, UNITS[statistic])
    Console().print(table)


def write_picture(path: Path, month: Month, products: dict[str, Field]) -> str:
    """Draw the products; returns a sentence that names the file, or the package to install."""
    if importlib.util.find_spec("matplotlib") is None:
        return "no picture: matplotlib is missing; install it with `pip install 'headrace[weather]'`"
    if __package__:
        from .ensemble_figure import draw
    else:  # started as a script
        from ensemble_figure import draw
    draw(path, month, products)
    return f"picture: {path}"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line's options. Exits with a message about invalid ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grib", type=Path, help="hourly 2 m temperature in GRIB (default: make up a month)")
    parser.add_argument("--hosts", type=int, default=2, help="workers of the local cluster (default: %(default)s)")
    parser.add_argument("--runners", type=int, default=1, help="runners of each worker (default: %(default)s)")
    parser.add_argument("--png", type=Path, default=Path("ensemble.png"), help="the picture to write (default: %(default)s)")
    parser.add_argument("--no-png", action="store_true", help="write no picture")
    options = parser.parse_args(argv)
    if options.grib and not options.grib.is_file():
        parser.error(f"--grib {options.grib}: no such file")
    if options.grib and importlib.util.find_spec("cfgrib") is None:
        parser.error("--grib needs cfgrib: pip install 'headrace[weather]'")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(argv)
    month = describe_grib(options.grib) if options.grib else SYNTHETIC
    products, summary = run(month, options.hosts, options.runners)
    print_table(month, products)
    print(summary)
    if not options.no_png:
        print(write_picture(options.png, month, products))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # the cluster and all its processes have ended by now
        sys.exit(130)
