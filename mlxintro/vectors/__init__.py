"""Concept vectors: the recipe, the extraction from a model, the cache, and what steering with them does."""
