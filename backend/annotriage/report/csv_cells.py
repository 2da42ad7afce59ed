"""Text in the CSV files that people open in a spreadsheet."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # at the beginning of a text, spreadsheets calculate


def text_cell(text: str) -> str:
    """Text from data, with a quote in front where a spreadsheet would take it for a formula and run it."""
    return f"'{text}" if text.startswith(FORMULA) else text
