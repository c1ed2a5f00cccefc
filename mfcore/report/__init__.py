"""What people look at: what a model has learnt, charts, and pages of HTML that need nothing else."""

from mfcore.report._charts import PlottingMissingError, Series, bar_chart, line_chart, short_number
from mfcore.report._factors import (
    FactorTable,
    draw_model,
    factor_extremes,
    find_item,
    popular_factors,
    title_of,
)
from mfcore.report._page import Block, Chart, Fact, Prose, Section, StyledText, Table, Tone, write_page

__all__ = [
    "Block",
    "Chart",
    "Fact",
    "FactorTable",
    "PlottingMissingError",
    "Prose",
    "Section",
    "Series",
    "StyledText",
    "Table",
    "Tone",
    "bar_chart",
    "draw_model",
    "factor_extremes",
    "find_item",
    "line_chart",
    "popular_factors",
    "short_number",
    "title_of",
    "write_page",
]
