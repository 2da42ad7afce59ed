"""The label audit: labels that people gave -> those to look at again."""
