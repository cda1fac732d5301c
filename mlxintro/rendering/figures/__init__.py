"""Figures for a paper: what they show as data, how matplotlib draws it, and the numbers beside them."""
