"""Sentences for people, and figures in words: one function a sentence, for the report, pages, commands and errors."""
