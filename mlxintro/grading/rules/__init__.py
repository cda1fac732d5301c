"""The grader that needs no model: patterns, stance, coherence."""
