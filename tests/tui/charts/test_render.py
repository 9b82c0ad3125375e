"""What is in the cells: spikes, gaps, bands, marks, and nothing that a terminal could not show."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermotui.tui.charts.axes import _x_labels, read_out
from thermotui.tui.charts.frame import Frame, blank, changed_spans, runs
from thermotui.tui.charts.model import SCALES, ChartData, Mark, Scale, SeriesData, Shade, raw_series
from thermotui.tui.charts.numbers import format_compact, format_value, to_ascii
from thermotui.tui.charts.raster import GLYPHS, MODES, Mode
from thermotui.tui.charts.render import Layout, columns_of, draw, layout, value_range
from thermotui.tui.charts.roles import ROLE
from thermotui.tui.charts.rows import (
    VALUE_WIDTH,
    draw_heatmap,
    draw_sparklines,
    short_names,
    spark_columns,
    value_text,
)
from thermotui.tui.charts.scales import Axis, sticky_axis

WIDTH, HEIGHT = 80, 16


def picture(
    data: ChartData,
    x_range: tuple[float, float],
    mode: Mode = "braille",
    scale: Scale = "linear",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    cursor: float | None = None,
    axis: Axis | None = None,
) -> tuple[Frame, Layout]:
    place = layout(*size)
    columns = columns_of(data, x_range, place.cells, mode)
    low, high, smallest = value_range(columns)
    axis = axis or sticky_axis(None, low, high, scale, smallest)
    return draw(data, columns, place, axis, x_range, mode, cursor), place


def dots(frame: Frame, place: Layout, mode: Mode) -> np.ndarray:
    """The dots of the plot, read back from its characters: bool [rows, columns]."""
    glyphs = GLYPHS[mode]
    cells = frame.characters[place.top : place.top + place.rows, place.gutter :]
    pattern = {int(code): bits for bits, code in enumerate(glyphs.characters)}
    bits = np.vectorize(lambda code: pattern.get(code, 0))(cells)
    shape = (place.rows, glyphs.down, place.cells, glyphs.across)
    return ((bits[:, None, :, None] & glyphs.weights[None, :, None, :]) > 0).reshape(
        shape[0] * shape[1], shape[2] * shape[3]
    )


@pytest.fixture(scope="module")
def long_run() -> np.ndarray:
    """10^7 steps of a noisy loss around 5."""
    return np.random.default_rng(0).normal(5.0, 0.1, size=10**7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spike", [-20.0, 20.0])
def test_one_step_of_ten_million_is_seen_at_full_zoom_out(long_run: np.ndarray, mode: Mode, spike: float) -> None:
    points = long_run.copy()
    points[6_543_210] += spike
    series = raw_series("loss", np.arange(points.size), points)
    frame, place = picture(ChartData("loss", series=(series,)), (0.0, 1e7), mode)
    seen = dots(frame, place, mode)
    column = int(0.6543210 * seen.shape[1])
    far = slice(seen.shape[0] * 2 // 3, None) if spike < 0 else slice(0, seen.shape[0] // 3)
    assert seen[far, column].sum() >= GLYPHS[mode].down, "the spike's column reaches far from the curve"
    assert not np.delete(seen[far], column, axis=1).any(), "no other column does"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("spike", [-20.0, 20.0])
def test_a_sparkline_keeps_it_too(long_run: np.ndarray, mode: Mode, spike: float) -> None:
    points = long_run.copy()
    points[1_234_567] += spike
    quiet = raw_series("quiet", np.arange(points.size), long_run)
    series = raw_series("layer", np.arange(points.size), points)
    axes = [Axis(min(5.0, 5.0 + spike) - 1, max(5.0, 5.0 + spike) + 1)] * 2
    names = ("layer", "quiet")
    columns = spark_columns((series, quiet), names, (0.0, 1e7), WIDTH, mode)
    frame = draw_sparklines((series, quiet), columns, names, WIDTH, mode, axes)
    assert np.flatnonzero(frame.characters[0, 8:60] != frame.characters[1, 8:60]).size == 1


def test_a_logarithmic_sparkline_shows_zero_at_the_bottom_and_nothing_where_nothing_was_measured() -> None:
    points = np.full(90, 1e-3)
    points[30:60], points[60:] = 0.0, np.nan
    series = raw_series("layer", np.arange(90), points)
    columns = spark_columns((series,), ("layer",), (0.0, 90.0), 36, "braille")
    frame = draw_sparklines((series,), columns, ("layer",), 36, "braille", [Axis(1e-6, 1e-3, "log")])
    top, bottom, nothing = frame.text()[0][8:14], frame.text()[0][18:24], frame.text()[0][28:36]
    assert set(top) == {"⠉"} and set(bottom) == {"⣀"} and not nothing.strip()


def test_a_gap_stays_empty() -> None:
    points = np.sin(np.arange(1000) / 50)
    points[400:600] = np.nan
    data = ChartData("loss", series=(raw_series("loss", np.arange(1000), points),))
    frame, place = picture(data, (0.0, 1000.0))
    seen = dots(frame, place, "braille").any(axis=0)
    columns = seen.size
    assert not seen[int(0.4 * columns) + 1 : int(0.6 * columns) - 1].any()
    assert seen[: int(0.4 * columns) - 1].all() and seen[int(0.6 * columns) + 1 :].all()


def test_the_error_band_lies_around_the_curve_in_its_own_colour() -> None:
    x = np.arange(100.0)
    data = ChartData("W", series=(raw_series("W", x, np.zeros(100), np.ones(100)),))
    frame, place = picture(data, (0.0, 100.0), axis=Axis(-2.0, 2.0))
    rows = frame.foreground[place.top : place.top + place.rows, place.gutter :]
    centre = place.rows // 2
    assert (rows[centre] == ROLE["series_1"]).any() or (rows[centre - 1] == ROLE["series_1"]).any()
    assert (rows[place.rows // 4 + 1] == ROLE["band_1"]).all()
    assert not (rows[0] == ROLE["band_1"]).any()


def test_shades_and_marks_stand_where_they_belong() -> None:
    data = ChartData(
        "loss",
        series=(raw_series("loss", [0, 100], [0.0, 1.0]),),
        shades=(Shade(25.0, 50.0),),
        marks=(Mark(75.0, "critical"), Mark(75.2, "minor"), Mark(500.0)),
    )
    frame, place = picture(data, (0.0, 100.0))
    inside = np.flatnonzero(frame.background[place.top, place.gutter :] == ROLE["valid"]) / place.cells
    assert inside.min() == pytest.approx(0.25, abs=0.02) and inside.max() == pytest.approx(0.5, abs=0.02)
    axis = frame.text()[place.top + place.rows]
    assert axis.count("▲") == 1, "two alerts in a cell are one mark, and one beyond the range is none"
    at = axis.index("▲")
    assert frame.foreground[place.top + place.rows, at] == ROLE["critical"], "the most severe is seen"
    assert (at - place.gutter) / place.cells == pytest.approx(0.75, abs=0.02)
    assert "═" in axis, "without colours the axis shows the valid interval"


def test_the_header_reads_the_latest_value_or_the_one_at_the_cursor() -> None:
    series = raw_series("W", np.arange(10), np.arange(10.0), np.full(10, 0.2))
    data = ChartData("heat", "nats", (series,), notes=("stride 10",))
    assert picture(data, (0.0, 10.0))[0].text()[0] == "heat [nats] stride 10  ━ W 9.0 ± 0.2"
    assert "step 4  ━ W 4.0 ± 0.2" in picture(data, (0.0, 10.0), cursor=4.0)[0].text()[0]
    exact = raw_series("Q", np.arange(10), -np.arange(10.0), exact=True)
    assert "Q −9 exact" in picture(ChartData("heat", series=(exact,)), (0.0, 10.0))[0].text()[0]


def test_the_cursor_is_a_line_behind_the_curve() -> None:
    data = ChartData("loss", series=(raw_series("loss", np.arange(100), np.zeros(100)),))
    frame, place = picture(data, (0.0, 100.0), cursor=50.0)
    column = frame.background[place.top : place.top + place.rows] == ROLE["cursor"]
    assert (column.sum(axis=1) == 1).all()


@pytest.mark.parametrize("mode", MODES)
def test_several_series_keep_their_colours(mode: Mode) -> None:
    x = np.arange(50.0)
    lines = tuple(raw_series(f"run {i}", x, np.full(50, float(i)), colour_role=f"series_{i}") for i in range(1, 9))
    frame, _ = picture(ChartData("compare", series=lines), (0.0, 50.0), mode, size=(80, 40))
    assert {ROLE[f"series_{i}"] for i in range(1, 9)} <= set(np.unique(frame.foreground).tolist())


def test_appended_rows_change_only_the_rightmost_cells() -> None:
    generator = np.random.default_rng(5)
    points = generator.normal(size=6000)
    before, place = picture(_loss(points[:5000]), (0.0, 8192.0), axis=Axis(-4.0, 4.0))
    after, _ = picture(_loss(points), (0.0, 8192.0), axis=Axis(-4.0, 4.0))
    edge = place.gutter + int(5000 / 8192 * place.cells)
    assert all(first >= edge for y, first, _ in changed_spans(before, after) if y >= place.top)
    assert changed_spans(after, picture(_loss(points), (0.0, 8192.0), axis=Axis(-4.0, 4.0))[0]) == []


def _loss(points: np.ndarray) -> ChartData:
    return ChartData("loss", series=(raw_series("loss", np.arange(points.size), points),))


numbers = st.floats(-1e300, 1e300) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 5e-324])


@settings(max_examples=150)
@given(
    st.lists(numbers, max_size=40),
    st.integers(1, 120),
    st.integers(1, 30),
    st.sampled_from(MODES),
    st.sampled_from(SCALES),
    st.none() | st.floats(-10, 50),
)
def test_any_size_and_any_data_make_a_picture(
    points: list[float], width: int, height: int, mode: Mode, scale: Scale, cursor: float | None
) -> None:
    error = np.abs(np.array(points))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        series = raw_series("loss \x1b[31m 漢", np.arange(len(points)), points)
        band = SeriesData("W", series.x, series.low, series.high, series.mean, -error, error, "series_2")
        data = ChartData("Σ\x07", "nats", (series, band), (Mark(3.0),), (Shade(1.0, 9.0),))
        frame, _ = picture(data, (-0.5, 41.0), mode, scale, (width, height), cursor)
    assert frame.characters.shape == (height, width)
    printable = [chr(code).isprintable() for code in np.unique(frame.characters).tolist()]
    assert all(printable), "no control character reaches the terminal"
    if mode == "ascii":
        assert frame.characters.max() < 127


def test_only_what_differs_is_a_change() -> None:
    old, new = blank(3, 40), blank(3, 40)
    new.write(1, 5, "heat")
    new.write(1, 11, "Q", "axis")
    new.write(2, 30, "W", "critical")
    assert changed_spans(old, new) == [(1, 5, 12), (2, 30, 31)]
    assert changed_spans(None, new) == [(y, 0, 40) for y in range(3)]
    plain, axis = ROLE["plain"], ROLE["axis"]
    assert runs(new)[1] == [("     heat  ", plain, 0), ("Q" + " " * 28, axis, 0)]


def test_heatmap_levels_span_their_range_and_gaps_are_empty() -> None:
    x = np.arange(100.0)
    rising = raw_series("a", x, x)
    points = np.full(100, 99.0)
    points[40:60] = np.nan
    gap = raw_series("b", x, points)
    frame = draw_heatmap((rising, gap), "ab", (0.0, 100.0), 52, "braille", (0.0, 99.0))
    levels = frame.background[0, 2:].astype(int) - ROLE["heat_0"]
    assert levels[0] == 0 and levels[-1] == 9 and (np.diff(levels) >= 0).all()
    assert (frame.background[1, 23:31] == 0).all() and frame.background[1, 2] == ROLE["heat_9"]
    text = draw_heatmap((rising, gap), "ab", (0.0, 100.0), 52, "ascii", (0.0, 99.0)).text()
    assert text[0].endswith("@") and text[1][24] == " "


def test_names_lose_what_all_share_before_they_are_cut() -> None:
    names = [f"encoder.layers.{i}.weight" for i in range(12)]
    assert short_names(names, 40) == tuple(names)
    assert short_names(names, 17) == tuple(f"encoder.layers.{i}" for i in range(12))
    assert short_names(names, 4) == tuple(map(str, range(12)))
    assert short_names(["weight", "weight.bias"], 3) == ("weight", "weight.bias")
    assert short_names([], 3) == ()


def test_zero_is_the_lowest_level_of_a_logarithmic_heatmap_and_not_a_gap() -> None:
    x = np.arange(40.0)
    points = np.where(x < 20, 0.0, 1.0)
    frame = draw_heatmap((raw_series("a", x, points),), "a", (0.0, 40.0), 42, "braille", (1e-6, 1.0), logarithmic=True)
    assert (frame.background[0, 2:21] == ROLE["heat_0"]).all()
    assert (frame.background[0, 23:] == ROLE["heat_9"]).all()


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (120, "Information [nats] stride 10  ━ L-info ≥ 0.30 ± 0.10  ━ L-info ≤ 0.40 ± 0.10  ━ M-info 16.0 ± 1.0"),
        (90, "Information [nats]  ━ L-info ≥ 0.30 ± 0.10  ━ L-info ≤ 0.40 ± 0.10  ━ M-info 16.0 ± 1.0"),
        (84, "Information [nats]  ━ L-info ≥ 0.30(10)  ━ L-info ≤ 0.40(10)  ━ M-info 16.0(10)"),
        (70, "Info [nats]  ━ L ≥ 0.30(10)  ━ L ≤ 0.40(10)  ━ M-info 16.0(10)"),
        (58, "Info  ━ L ≥ 0.30(10)  ━ L ≤ 0.40(10)  ━ M-info 16.0(10)"),
    ],
)
def test_a_header_of_many_series_first_loses_what_matters_least(width: int, expected: str) -> None:
    text = picture(_information(), (0.0, 10.0), size=(width, 12))[0].text()[0]
    assert text == expected


def test_a_narrow_header_keeps_its_title_and_every_name_to_tell_the_colours_apart() -> None:
    text = picture(_information(), (0.0, 10.0), size=(44, 12))[0].text()[0]
    assert text == "Info ━ L ≥ 0.30(10) ━ L ≤ 0.40(10) ━ M-info"
    ascii_text = picture(_information(), (0.0, 10.0), "ascii", size=(44, 12))[0].text()[0]
    assert ascii_text.isascii() and "Info - L >=" in ascii_text


def _information() -> ChartData:
    x = np.arange(10)
    error = np.full(10, 0.1)
    lines = (("L-info ≥", 0.3, error), ("L-info ≤", 0.4, error), ("M-info", 16.0, error * 10))
    return ChartData(
        "Information",
        "nats",
        tuple(
            replace(raw_series(name, x, np.full(10, value), se), short=name.replace("L-info", "L"))
            for name, value, se in lines
        ),
        notes=("stride 10",),
        short="Info",
    )


@given(st.floats(-1e12, 1e12), st.floats(1e-12, 1e12), st.booleans())
def test_the_number_beside_a_sparkline_is_never_cut(value: float, error: float, ascii_only: bool) -> None:
    series = raw_series("layer", [0.0], [value], [error])
    text = value_text(series, ascii_only=ascii_only)
    shown, deviation = read_out(series, None)
    whole = {format_value(shown, deviation), format_compact(shown, deviation)}
    assert len(text) <= VALUE_WIDTH
    assert text in {"…", "~"} | whole | {to_ascii(each) for each in whole}


def test_a_log_axis_says_what_it_cannot_show() -> None:
    x = np.arange(50.0)
    lines = (raw_series("W", x, x + 1), raw_series("Q", x, -x - 1, colour_role="series_2"))
    data = ChartData("heat and work", "nats", lines)
    assert picture(data, (0.0, 50.0), scale="log")[0].text()[1].endswith("Q ≤ 0 not shown")
    assert not any("not shown" in row for row in picture(data, (0.0, 50.0), scale="symlog")[0].text())


@pytest.mark.parametrize(
    "x_range", [(1375.25, 1625.75), (125.0625, 375.1875), (0.0, 3001.0), (999_999.5, 1_000_500.25)]
)
@pytest.mark.parametrize("cells", [12, 20, 43, 150])
def test_steps_on_the_axis_are_whole(x_range: tuple[float, float], cells: int) -> None:
    labels = [label for _, _, label in _x_labels(x_range, cells) if label]
    assert labels
    assert all(label.isdigit() or label[-1] in "kM" for label in labels), labels
