"""The ladder of rival explanations: what else could make a subject claim and name an injected thought."""
