"""A real browser for the end-to-end tests."""

from browsers import browser, open_page

__all__ = ["browser", "open_page"]
