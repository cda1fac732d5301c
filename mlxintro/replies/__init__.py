"""Words found in replies, for graders and for analyses alike."""
