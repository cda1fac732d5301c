"""Answers as an OpenAI-compatible server gives them."""

from __future__ import annotations

from typing import Any


def as_completion(message: dict[str, Any], fault: str) -> dict[str, Any]:
    """The answer as an OpenAI-compatible server gives it; ``fenced`` and ``thinking`` wrap it as some models do."""
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    text = {"fenced": f"```json\n{text}\n```", "thinking": f"<think>Well, yes or no?</think>\n{text}"}.get(fault, text)
    finish = {"max_tokens": "length", "refusal": "content_filter"}.get(message["stop_reason"], "stop")
    usage = {"prompt_tokens": 1000, "completion_tokens": 90, "total_tokens": 1090}
    if fault == "negative":
        usage["completion_tokens"] = -90
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": message["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        **({} if fault == "no usage" else {"usage": usage}),
    }
