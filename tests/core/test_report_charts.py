"""Charts as SVG: well-formed, described in words, in the page's colours, and strangers to one another."""

import re
import sys
from xml.etree import ElementTree

import pytest

from mfcore.errors import InvalidArgumentError
from mfcore.report import PlottingMissingError, Series, bar_chart, line_chart, short_number


def lines(*series, **options):
    return line_chart(series, x_label="epoch", y_label="RMSE", **options)


def test_a_line_chart_is_svg_that_says_what_it_shows():
    svg = lines(Series("numba", [1, 2, 3], [0.9, 0.8, 0.7]), Series("torch <2>", [1, 2], [0.9, 0.8]))
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == "RMSE by epoch: numba, torch <2>"
    texts = "".join(root.itertext())
    assert all(word in texts for word in ("numba", "torch <2>", "epoch", "RMSE"))


def test_bars_say_their_values():
    svg = bar_chart(["numba", "$torch$"], [1.25e6, 0], x_label="instances/s")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "instances/s: numba 1.25 M, $torch$ 0"
    assert "1.25 M" in "".join(root.itertext())
    assert "$torch$" in "".join(root.itertext())


def test_colours_are_the_pages():
    svg = lines(*(Series(str(number), [1, 2], [number, 2]) for number in range(10)))
    assert "#04" not in svg
    assert {f"--series-{number}" for number in range(8)} <= set(re.findall(r"var\((--[\w-]+)", svg))
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", svg)) <= {
        "none",
        *re.findall(r"var\([^)]*\)", svg),
    }


def test_a_line_keeps_its_colour_wherever_it_stands():
    assert "--series-5" in lines(Series("a", [1, 2], [1, 2], color=5))
    assert "--series-3" in bar_chart(["a"], [1], x_label="x", colors=[3])


def test_names_within_charts_are_their_own():
    first, second = lines(Series("a", [1, 2], [1, 2])), lines(Series("b", [1, 2], [1, 2]))
    names = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (first, second)]
    assert names[0]
    assert not names[0] & names[1]


def test_the_same_chart_is_the_same_text():
    assert lines(Series("a", [1, 2], [1, 2])) == lines(Series("a", [1, 2], [1, 2]))


def test_a_logarithmic_axis_names_steps_within_a_power_of_ten():
    svg = lines(Series("a", [1, 40], [0.7, 0.9]), log_x=True, log_y=True)
    texts = ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter() if "text" in text.tag]
    assert {"1", "2", "5", "10", "20"} <= set(texts)
    assert sum(text.startswith("0.") for text in texts) >= 3


def test_a_single_point_is_seen():
    assert "<use" in lines(Series("a", [1], [1]))


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (0.01234, "0.0123"), (999, "999"), (999.6, "1.00 k"), (12_345, "12.3 k"), (2.5e9, "2.50 G")],
)
def test_numbers_are_said_in_three_digits(number, said):
    assert short_number(number) == said


@pytest.mark.parametrize(
    "draw",
    [
        lines,
        lambda: lines(Series("a", [], [])),
        lambda: lines(Series("a", [1, 2], [1])),
        lambda: bar_chart([], [], x_label="x"),
        lambda: bar_chart(["a"], [1, 2], x_label="x"),
    ],
)
def test_nothing_and_unequal_numbers_are_errors(draw):
    with pytest.raises(InvalidArgumentError, match="pass"):
        draw()


def test_without_matplotlib_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlottingMissingError, match=re.escape("pip install 'mfcore[plot]'")):
        lines(Series("a", [1], [1]))
