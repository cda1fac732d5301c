"""The grader that asks Claude, live or by batches, within a budget."""
