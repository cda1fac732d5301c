"""From verdicts to figures: rates, contrasts, tests, comparisons."""
