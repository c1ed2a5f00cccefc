"""Reports as HTML: what is escaped, how tables are laid out, and that nothing outside is referred to."""

import re
from html.parser import HTMLParser

import pytest
from jinja2 import UndefinedError

from mfcore.errors import InvalidArgumentError
from mfcore.report import Chart, Fact, Prose, Section, Series, StyledText, Table, line_chart, write_page
from mfcore.report._page import page

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Document(HTMLParser):
    """What is in a page; elements that are not closed in order are an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.words.append(data.strip())

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def report(*blocks):
    return page("A title", "A lead", [Section("A section", blocks)])


def test_text_is_escaped_wherever_it_stands():
    nasty = "<script>alert('&')</script>"
    text = page(nasty, nasty, [Section(nasty, [Prose(nasty), Fact(nasty, nasty, nasty)])])
    text += report(Table([nasty], [[nasty], [StyledText(nasty, "bad")]], nasty), Chart("<svg></svg>", nasty))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 12


def test_what_is_given_is_shown_in_order():
    words = Document(report(Prose("first"), Table(["head"], [["cell"]], "caption"), Prose("last"))).words
    shown = [word for word in words if word]
    assert shown == ["A title", "A title", "A lead", "A section", "first", "caption", "head", "cell", "last"]


def test_a_page_refers_to_nothing_outside_it():
    chart = Chart(line_chart([Series("a", [1, 2], [3, 4])], x_label="x", y_label="y"))
    text = report(chart, Table(["a"], [["1"]]))
    document = Document(text)
    assert not [tag for tag, _ in document.found if tag in ("script", "link", "img", "iframe", "object")]
    assert not any(key in attributes for _, attributes in document.found for key in ("src", "href"))
    assert "@import" not in text
    assert all(part.startswith("#") for part in text.split("url(")[1:])


def test_columns_of_numbers_are_aligned_to_the_right():
    rows = [
        ["numba", "1.25 M", "0.91 ± 0.01", "12 ms", "<1e-06", "12 of 15", "-", "1,024 MB", "torch 2.13"],
        ["torch", "-", "0.9", "1.5 s", "7.6e-08", "", "-", "12 %", "3"],
    ]
    table = Table([str(place) for place in range(9)], rows)
    assert table.numeric == [False, True, True, True, True, True, False, True, False]
    assert [attributes.get("class") for attributes in Document(report(table)).of("td")[:2]] == ["number"] * 2


def test_the_tone_of_a_cell_is_a_class_and_its_text_stays():
    document = Document(report(Table(["a", "b"], [["x", StyledText("within tolerance", "good")]])))
    assert document.of("td") == [{"class": "good"}]
    assert "within tolerance" in document.words


def test_a_table_without_rows_shows_its_columns():
    assert len(Document(report(Table(["a", "b"], []))).of("th")) == 2


@pytest.mark.parametrize(("n_columns", "beside"), [(4, True), (5, False)])
def test_neighbouring_tables_of_few_columns_stand_side_by_side(n_columns, beside):
    table = Table(["c"] * n_columns, [["1"] * n_columns])
    classes = [attributes.get("class", "") for attributes in Document(report(table, table)).of("div")]
    assert ("tables narrow" in classes) is beside
    assert "tables narrow" not in report(table).replace(".tables.narrow", "")


@pytest.mark.parametrize("row", [["3"], ["3", None], ["3", 4.5]])
def test_a_row_that_does_not_fit_the_columns_is_an_error(row):
    with pytest.raises(InvalidArgumentError, match=re.escape(f"row 1 of a table is {row!r}")):
        Table(["a", "b"], [["1", "2"], row])


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "report.html"
    assert write_page(path, "T", "L", []) == path
    before = path.read_text(encoding="utf-8")
    with pytest.raises(UndefinedError):
        write_page(path, "T", "L", [Section("s", []), None])
    assert path.read_text(encoding="utf-8") == before
    assert list(tmp_path.iterdir()) == [path]
