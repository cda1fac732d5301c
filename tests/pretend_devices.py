"""Two pretend accelerators: tensors that say they lie on ``gpu:0`` or ``gpu:1`` and compute on the CPU.

They refuse to be mixed, and count what waits for the device. A program of its own, because torch is changed as a whole:

    python -m tests.pretend_devices FOLDER

It loads the model twice, plain and with its blocks split over two devices (as accelerate does it), runs every operation
of the contract on both, and prints what came of it as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.utils._pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

ATEN = torch.ops.aten
WAITING = ("aten._local_scalar_dense", "aten.equal", "aten.is_nonzero", "aten.nonzero", "aten.masked_select")
INDEXING = ("aten.index", "aten._index_put")


@dataclass
class Log:
    waits: list[str] = field(default_factory=list)
    """What waited for a device, in order."""


log = Log()


class Pretend(torch.Tensor):
    """A tensor on a pretend device; ``raw`` holds its numbers."""

    raw: torch.Tensor
    home: torch.device

    @staticmethod
    def __new__(cls, raw: torch.Tensor, home: torch.device) -> Pretend:
        # A view of a weight shares its count of versions, which what is made in inference mode has none of.
        with torch.inference_mode(False):
            made: Pretend = torch.Tensor._make_wrapper_subclass(
                cls,
                raw.size(),
                strides=raw.stride(),
                storage_offset=raw.storage_offset(),
                dtype=raw.dtype,
                device=home,
                requires_grad=False,
            )
        return made

    def __init__(self, raw: torch.Tensor, home: torch.device) -> None:
        self.raw, self.home = raw, home

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Pretend({self.raw}, {self.home})"

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return computed(operation, args, kwargs or {})

    def tolist(self) -> Any:
        log.waits.append("tolist")
        return self.raw.tolist()

    def __getitem__(self, index: Any) -> Any:
        return torch.Tensor.__getitem__(self, self._moved(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        torch.Tensor.__setitem__(self, self._moved(index), value)

    def _moved(self, index: Any) -> Any:
        """Lists of numbers in an index are copied to the device, as torch does it for a real one."""

        def one(part: Any) -> Any:
            if isinstance(part, list | np.ndarray):
                return torch.tensor([int(number) for number in part]).to(self.home)
            return part

        return tuple(map(one, index)) if isinstance(index, tuple) else one(index)


def device_of(wanted: Any) -> torch.device | None:
    """A pretend device that was asked for; ``None`` for the CPU and for nothing."""
    if wanted is None or torch.device(wanted).type != "gpu":
        return None
    found = torch.device(wanted)
    return torch.device("gpu:0") if found.index is None else found


def raw_of(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: leaf.raw if isinstance(leaf, Pretend) else leaf, tree)


def copied(operation: Any, args: Any, kwargs: Any) -> Any:
    """Conversions and moves: to the CPU one waits for the device."""
    settings = {**kwargs, **{a.name: v for a, v in zip(operation._schema.arguments[1:], args[1:], strict=False)}}
    if (other := settings.pop("other", None)) is not None:
        settings |= {"device": other.device, "dtype": other.dtype}
    source, wanted = args[0], settings.pop("device", None)
    for name in ("non_blocking", "copy"):
        settings.pop(name, None)
    made = ATEN._to_copy.default(source.raw if isinstance(source, Pretend) else source, **settings)
    if wanted is None:
        return Pretend(made, source.home) if isinstance(source, Pretend) else made
    home = device_of(wanted)
    if home is None and isinstance(source, Pretend):
        log.waits.append("to the CPU")
    return made if home is None else Pretend(made, home)


def computed(operation: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation on the CPU for the one device that its tensors lie on.

    Raises:
        RuntimeError: they lie on several.
    """
    name = str(operation)
    if operation is ATEN._to_copy.default or name.startswith("aten.to."):
        return copied(operation, args, kwargs)
    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, Pretend)]
    if name.startswith("aten.copy_"):
        if isinstance(args[1], Pretend) and not isinstance(args[0], Pretend):
            log.waits.append(name)
        raw_of(args[0]).copy_(raw_of(args[1]))
        return args[0]
    if ours and name.startswith(WAITING):
        log.waits.append(name)
    if ours and name.startswith(INDEXING) and any(tensor.dtype == torch.bool for tensor in ours[1:]):
        log.waits.append(f"{name} by a mask")
    homes = {tensor.home for tensor in ours}
    # Numbers without dimensions go anywhere, as on a real device.
    strangers = [tensor for tensor in tensors if not isinstance(tensor, Pretend) and tensor.dim() > 0]
    if len(homes) > 1 or (homes and strangers):
        raise RuntimeError(f"{name} mixes {sorted(map(str, homes))}{' and the CPU' * bool(strangers)}")
    settings = dict(kwargs)
    home = next(iter(homes), None)
    if (wanted := device_of(settings.get("device"))) is not None:
        home, settings["device"] = wanted, torch.device("cpu")
    given = raw_of(args)
    if name.startswith("aten.histc") and home is not None and not given[0].is_floating_point():
        # Routers count whole numbers where there is a device, which the CPU's histogram does not know.
        return Pretend(operation(given[0].double(), *given[1:], **raw_of(settings)).to(given[0].dtype), home)
    found = operation(*given, **raw_of(settings))
    if home is None:
        return found
    if operation._schema.is_mutable and name.split(".")[1].endswith("_"):
        return args[0]
    return pytree.tree_map(lambda leaf: Pretend(leaf, home) if isinstance(leaf, torch.Tensor) else leaf, found)


class Everywhere(TorchDispatchMode):
    """Lets tensors be made on a pretend device."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(operation, args, kwargs or {})


def stand_in() -> None:
    """Change what torch does before its dispatcher is asked."""
    _setup_privateuseone_for_python_backend("gpu")
    attention: Any = torch.nn.functional.scaled_dot_product_attention
    tensor: Any = torch.tensor

    def attended(query: Any, key: Any, value: Any, attn_mask: Any = None, **settings: Any) -> Any:
        parts = [query, key, value, attn_mask]
        homes = {part.device for part in parts if isinstance(part, torch.Tensor)}
        if len(homes) > 1:
            raise RuntimeError(f"attention mixes {sorted(map(str, homes))}")
        found = attention(*raw_of(parts[:3]), attn_mask=raw_of(attn_mask), **settings)
        return Pretend(found, query.home) if isinstance(query, Pretend) else found

    def made(data: Any, *args: Any, device: Any = None, **settings: Any) -> Any:
        home = device_of(device)
        found = tensor(data, *args, **({} if home else {"device": device}), **settings)
        return found if home is None else found.to(home)

    torch.nn.functional.scaled_dot_product_attention = attended  # type: ignore[assignment]
    torch.tensor = made


def spread(model: Any, where: Callable[[str], torch.device]) -> None:
    """Move a model's parts, and let inputs follow as accelerate's hooks do; caches do not follow."""

    def sent(tree: Any, home: torch.device) -> Any:
        return pytree.tree_map(
            lambda leaf: leaf.to(home) if isinstance(leaf, torch.Tensor) and leaf.device != home else leaf, tree
        )

    def follows(home: torch.device) -> Callable[..., Any]:
        def before(module: Any, args: Any, kwargs: Any) -> Any:
            moved = {name: one if name == "past_key_values" else sent(one, home) for name, one in kwargs.items()}
            return sent(args, home), moved

        return before

    for name, module in model.named_modules():
        home = where(name)
        for key, weight in module._parameters.items():
            if weight is not None:
                module._parameters[key] = torch.nn.Parameter(Pretend(weight.data, home), requires_grad=False)
        for key, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[key] = Pretend(buffer, home)
        if any(weight is not None for weight in module._parameters.values()) or name.rpartition(".")[2].isdigit():
            module.register_forward_pre_hook(follows(home), with_kwargs=True)


def half(name: str) -> torch.device:
    """Embedding and the first two blocks on one device, the rest on the other."""
    first = "embed" in name or "layers.0" in name or "layers.1" in name or name in ("", "model")
    return torch.device("gpu:0" if first or "rotary" in name else "gpu:1")


def sites_of(backend: Any) -> tuple[Any, ...]:
    """The sites that can be used: all that are one stream wide, or the stream alone where a block has no others."""
    from mlxintro.backends.base import Prompt
    from mlxintro.backends.errors import KnownError

    sites: tuple[Any, ...] = ("resid_post", "attn_out", "mlp_out")
    try:
        backend.capture([Prompt((5, 6, 7))], sites=sites)
    except KnownError:
        return sites[:1]
    return sites


def operations(backend: Any) -> dict[str, Any]:
    """Everything a backend does, as plain values."""
    from mlxintro.backends.base import Injection, Prompt, Request, Sampling

    sites = sites_of(backend)
    rng = np.random.default_rng(3)
    prompts = []
    for row, operation in enumerate(("add", "ablate", "replace", "add", "add")):
        vector = rng.normal(size=backend.info.width).astype(np.float32)
        tokens = tuple(rng.integers(4, 400, 9 + 3 * row).tolist())
        injection = Injection(row % 4, vector, row, None, site=sites[row % len(sites)], operation=operation)  # type: ignore[arg-type]
        prompts.append(Prompt(tokens, (injection,) if row else ()))
    requests = [
        Request(prompt, Sampling(max_tokens=6 + row, temperature=0.8 * (row % 2), top_p=0.9, seed=row))
        for row, prompt in enumerate(prompts)
    ]
    replies = sorted(backend.generate(requests), key=lambda reply: reply.index)
    captured = backend.capture(prompts, sites=sites, positions=[-1, 2])
    lens = backend.lens(captured[0]["resid_post"])
    scores = backend.score(prompts, [[(5,), (6, 7, 8)]] * len(prompts))
    return {
        "tokens": [list(reply.tokens) for reply in replies],
        "proofs": [[[p.layer, p.positions, p.first, p.last] for p in reply.proofs] for reply in replies],
        "changes": [p.change for reply in replies for p in reply.proofs],
        "captured": [float(one[site].sum()) for one in captured for site in sites],
        "lens": float(lens.sum()),
        "scores": [float(value) for options in scores for option in options for value in option],
    }


def waits_of(backend: Any, steps: int) -> list[str]:
    """What waits for the device while one row takes so many steps."""
    from mlxintro.backends.base import Injection, Prompt, Request, Sampling

    vector = np.ones(backend.info.width, np.float32)
    request = Request(Prompt(tuple(range(5, 15)), (Injection(1, vector, 3),)), Sampling(max_tokens=steps))
    log.waits.clear()
    list(backend.generate([request]))
    return list(log.waits)


def main(folder: str) -> None:
    from mlxintro.backends.models.sources import read_folder
    from mlxintro.backends.pytorch.backend import TorchBackend, load

    source = read_folder(Path(folder), name="tiny", repository=folder)
    with load(source, device="cpu", dtype="float32", batch_size=3) as plain:
        expected = operations(plain)
        # Not earlier: a model that is loaded after it has frequencies of positions that nobody filled in.
        stand_in()
        spread(plain.network.model, half)
        with Everywhere():
            split = TorchBackend(plain.network.model, plain.tokenizer, plain.info, batch_size=3, graphs=False)
            found = operations(split)
            waits = {steps: waits_of(split, steps) for steps in (4, 14)}
    print(json.dumps({"expected": expected, "found": found, "waits": waits}))


if __name__ == "__main__":
    main(sys.argv[1])
