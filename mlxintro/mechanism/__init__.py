"""Which parts of a model carry the report of an injected thought: activation patching and the logit lens."""
