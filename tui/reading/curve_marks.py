"""Marks of curves and of marked runs: each has its own, so that they can be told apart without colours."""

MARKS = "●▲■◆○△□◇"
