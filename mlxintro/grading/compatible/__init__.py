"""Judges behind any OpenAI-compatible endpoint: Ollama, LM Studio, vLLM, OpenRouter."""
