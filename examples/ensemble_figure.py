"""The picture of the ensemble example: one page about a month's temperatures by hour of day.

It needs matplotlib (`pip install 'headrace[weather]'`), and draws off screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine

Array = npt.NDArray[np.floating[Any]]

ZERO_CELSIUS = 273.15  # K
MEAN_HOURS = (0, 6, 12, 18)
FROST_HOURS = range(0, 24, 3)
SHORE = 2.5  # K of daily range: over water a day is flatter than this, over land it is not
LAND, SEA = "#c2541b", "#1f6f8b"
LEFT = 0.012  # of the figure's width: where titles begin
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}


class Grid(Protocol):
    """The title of the month, and the grid of the fields."""

    @property
    def title(self) -> str: ...
    @property
    def latitudes(self) -> npt.NDArray[np.float64]: ...
    @property
    def longitudes(self) -> npt.NDArray[np.float64]: ...


def draw(path: Path, grid: Grid, products: Mapping[str, Array]) -> None:
    """Write the picture as PNG. `products`: arrays in kelvin by statistic, (hour, y, x) each, the anomaly (day, hour, y, x)."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13, 13), dpi=110, layout=ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.06))
        figure.suptitle(f"2 m temperature by hour of day: {grid.title}", fontsize=17, fontweight="bold", x=LEFT, ha="left")
        rows: Any = figure.subfigures(4, 1, height_ratios=(1.36, 1.05, 0.8, 1.0))
        draw_means(rows[0], grid, products)
        draw_points(rows[1], grid, products)
        draw_frost(rows[2], grid, products)
        draw_calendar(rows[3], products["anomaly"])
        FigureCanvasAgg(figure).print_png(str(path))


def draw_means(figure: SubFigure, grid: Grid, products: Mapping[str, Array]) -> None:
    """Draw maps of the mean at four hours, on one scale; they mark the points of the next row."""
    heading(figure, f"The mean. The outline shows where it changes by {SHORE} K over the day, which follows the coast")
    celsius = products["mean"] - ZERO_CELSIUS
    axes = figure.subplots(1, len(MEAN_HOURS), sharex=True, sharey=True)
    for axis, hour in zip(axes, MEAN_HOURS, strict=True):
        image = draw_map(axis, grid, products, celsius[hour], hour, cmap="RdYlBu_r", vmin=celsius.min(), vmax=celsius.max())
    for (row, column), colour in zip(land_and_sea(products["mean"]), (LAND, SEA), strict=True):
        axes[0].plot(grid.longitudes[column], grid.latitudes[row], "o", color=colour, markeredgecolor="white", markersize=8)
    figure.colorbar(image, ax=axes, label="°C", aspect=22, pad=0.01, shrink=0.86)


def draw_map(axis: Axes, grid: Grid, products: Mapping[str, Array], values: Array, hour: int, **style: Any) -> Any:
    """Draw one map, with the outline of the land as the data know it: where the temperature has a daily range."""
    image = axis.pcolormesh(grid.longitudes, grid.latitudes, values, shading="nearest", rasterized=True, **style)
    axis.contour(grid.longitudes, grid.latitudes, daily_range(products["mean"]), levels=[SHORE], colors="#222222", linewidths=0.8)
    axis.set_aspect(1 / np.cos(np.deg2rad(grid.latitudes.mean())))
    axis.set_title(f"{hour:02}:00 UTC")
    axis.xaxis.set_major_formatter(lambda degrees, _: f"{abs(degrees):.0f}°{'W' if degrees < 0 else 'E' if degrees > 0 else ''}")
    axis.yaxis.set_major_formatter(lambda degrees, _: f"{abs(degrees):.0f}°{'S' if degrees < 0 else 'N'}")
    return image


def draw_points(figure: SubFigure, grid: Grid, products: Mapping[str, Array]) -> None:
    """Draw the day at the points with the largest and the smallest daily range, side by side on one scale."""
    heading(figure, "The day where it changes most and where it changes least (the dots above)")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, kind, point, colour in zip(axes, ("land", "sea"), land_and_sea(products["mean"]), (LAND, SEA), strict=True):
        where = f"{grid.latitudes[point[0]]:.2f}°N, {east_or_west(grid.longitudes[point[1]])}"
        draw_cycle(axis, {name: products[name][(slice(None), *point)] - ZERO_CELSIUS for name in ("mean", "p10", "p50", "p90")}, colour)
        axis.set_title(f"{kind}: {where}", color=colour)
    axes[0].set_ylabel("°C")
    axes[0].legend(loc="upper left", frameon=False)


def draw_cycle(axis: Axes, cycle: Mapping[str, Array], colour: str) -> None:
    """Draw mean, median and the band between the 10th and the 90th percentile over a day, closed at 24:00."""
    hours = np.arange(25)
    closed = {name: np.append(values, values[0]) for name, values in cycle.items()}
    axis.fill_between(hours, closed["p10"], closed["p90"], color=colour, alpha=0.2, linewidth=0, label="10th to 90th percentile")
    axis.plot(hours, closed["p50"], color=colour, linewidth=1, linestyle="--", label="median")
    axis.plot(hours, closed["mean"], color=colour, linewidth=2, label="mean")
    axis.axhline(0, color="#666666", linewidth=0.7, linestyle=":")
    axis.set_xlim(0, 24)
    axis.set_xticks(range(0, 25, 3), [f"{hour:02}" for hour in range(0, 25, 3)])
    axis.set_xlabel("hour, UTC")


def draw_frost(figure: SubFigure, grid: Grid, products: Mapping[str, Array]) -> None:
    """Draw maps of the probability of frost through the day."""
    heading(figure, "The probability of frost (below 0 °C)")
    percent = 100 * products["frost"]
    axes = figure.subplots(1, len(FROST_HOURS), sharex=True, sharey=True)
    for axis, hour in zip(axes, FROST_HOURS, strict=True):
        image = draw_map(axis, grid, products, percent[hour], hour, cmap="Blues", vmin=0, vmax=max(percent.max(), 1.0))
    figure.colorbar(image, ax=axes, label="% of days", aspect=12, pad=0.01, shrink=0.8)


def draw_calendar(figure: SubFigure, anomaly: Array) -> None:
    """Draw every hour of the month: how much warmer or colder the whole area was than the mean of that hour."""
    heading(figure, "The anomaly of the whole area: each hour of each day against the mean of that hour")
    area = anomaly.mean(axis=(2, 3)).T
    limit = np.abs(area).max()
    axis = figure.subplots()
    days = np.arange(1, area.shape[1] + 1)
    image = axis.pcolormesh(days, np.arange(24), area, shading="nearest", cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    axis.set_xticks(days)
    axis.set_yticks(range(0, 24, 6), [f"{hour:02}" for hour in range(0, 24, 6)])
    axis.invert_yaxis()
    axis.set_xlabel("day of the month")
    axis.set_ylabel("hour, UTC")
    figure.colorbar(image, ax=axis, label="K", aspect=15, pad=0.01)


def heading(figure: SubFigure, text: str) -> None:
    """Write the title of a row."""
    figure.suptitle(text, fontsize=11.5, fontweight="bold", x=LEFT, ha="left")


def daily_range(mean: Array) -> Array:
    """Return the range of the mean over the day at each point, in kelvin."""
    return np.asarray(np.ptp(mean, axis=0))


def land_and_sea(mean: Array) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the points (row, column) with the largest and the smallest daily range: most likely land and sea."""
    flat = daily_range(mean).ravel()
    shape = mean.shape[1:]
    return tuple(tuple(map(int, np.unravel_index(index, shape))) for index in (flat.argmax(), flat.argmin()))  # type: ignore[return-value]


def east_or_west(degrees: float) -> str:
    """Format a longitude: 2.5 as 2.50°E, -2.5 as 2.50°W."""
    return f"{abs(degrees):.2f}°{'W' if degrees < 0 else 'E'}"
