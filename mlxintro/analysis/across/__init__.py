"""Comparisons across runs and groups of concepts: paired, over depth, over size, between categories.

Concepts are the units that were sampled: trials of one concept resemble each other, so values are averaged within each
concept first, and intervals and tests are over concepts.
"""
