"""The parts of a Hugging Face causal model that this project touches.

Every part is found by name, checked on a three-token forward pass, and refused with the architecture's name when it is
not what it should be. Nothing here changes a model.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..base import Site
from ..errors import ModelError, UsageError
from ..models import foreign, measured
from . import linear as torch_linear
from .past import masks
from .past.slots import SlotCache, Write

_TRUNKS = (
    "model",
    "model.language_model",
    "language_model.model",
    "language_model",
    "model.decoder",
    "backbone",
    "transformer",
    "gpt_neox",
)
"""Where the module that turns ids into the last hidden state lies."""
_BLOCKS = ("layers", "h")
_NORMS = ("norm", "final_layernorm", "final_layer_norm", "embedding_norm", "norm_f", "ln_f")
_POST_NORMS = {
    "attn_out": ("post_attention_layernorm", "post_self_attn_layernorm"),
    "mlp_out": ("post_feedforward_layernorm", "post_mlp_layernorm"),
}
_BRANCHES = {"attn_out": ("self_attn", "attn", "attention"), "mlp_out": ("mlp", "feed_forward", "block_sparse_moe")}
_PROJECTIONS = ("o_proj", "out_proj", "dense", "c_proj", "wo")
"""What takes the heads' outputs into the stream, in the module of attention."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """Holds the parts of a causal model. Build it with ``Network.of``."""

    model: Any
    trunk: nn.Module
    """Token ids to the hidden state after the final norm."""
    blocks: tuple[nn.Module, ...]
    norm: nn.Module
    head: nn.Module
    config: Any
    """Configuration of the text part."""
    linears: dict[nn.Linear, type[nn.Linear]]
    """Linear maps that ``torch_linear.few_tokens`` can take over."""
    heads: int
    """Attention heads of a block; 0 where they cannot be told apart before their projection."""
    head_width: int
    """Columns of a head, as it is handed to the projection."""
    carries: bool
    """Whether layers carry a state from token to token, which padding would change and nothing can cut back."""
    resumes: bool
    """Whether it can read several tokens on from there; else one at a time (Mamba)."""
    inputs: frozenset[str]
    """Names that the trunk's forward pass takes."""

    @classmethod
    def of(cls, model: Any) -> Network:
        """Find the parts.

        Raises:
            ModelError: the architecture is laid out in a way not known here.
        """
        config = model.config.get_text_config(decoder=True)
        carries = bool(masks.kinds_of(config) & masks.CARRYING)
        head = model.get_output_embeddings()
        for path in _TRUNKS:
            trunk = _first(model, path)
            blocks, norm = _first(trunk, *_BLOCKS), _first(trunk, *_NORMS)
            if isinstance(blocks, nn.ModuleList) and norm is not None and head is not None:
                heads = _heads(config, blocks)
                inputs = frozenset(inspect.signature(trunk.forward).parameters)
                linears = torch_linear.linears(trunk)
                found = cls(model, trunk, tuple(blocks), norm, head, config, linears, *heads, carries, True, inputs)
                return replace(found, resumes=_resumes(found)) if carries else found
        raise ModelError(
            f"no decoder layers, final norm and output embedding found in {type(model).__name__} "
            f"({config.model_type}): {measured.alternative(config.model_type, 'torch')}"
        )

    @property
    def device(self) -> torch.device:
        """Return where token ids go."""
        weight: Tensor = self.model.get_input_embeddings().weight
        return weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the residual stream."""
        return self.anchor.dtype

    @property
    def anchor(self) -> Tensor:
        """Return a tensor with the dtype and device of the stream's last part.

        It is that of the final norm, or of the head where the norm has no weights (OLMo 1)."""
        found: Any = next(self.norm.parameters(), self.head.weight)
        return found  # type: ignore[no-any-return]

    @property
    def sizes(self) -> dict[Site, int]:
        """Return the columns of the activation at each site."""
        width = self.config.hidden_size
        return {
            "resid_post": width,
            "attn_out": width,
            "mlp_out": width,
            "head_out": self.heads * self.head_width,
        }

    def site(self, layer: int, site: Site) -> nn.Module:
        """Return the module whose (first) output is the activation at a site; for ``head_out``, whose input is."""
        block = self.blocks[layer]
        if site == "resid_post":
            return block
        if site == "head_out":
            return cast(nn.Module, _projection(block))
        # Llama calls the norm *before* its MLP post_attention_layernorm; it comes after attention only where the MLP
        # has a post-norm as well.
        sandwiched = _first(block, *_POST_NORMS["mlp_out"]) is not None
        found: nn.Module | None = _first(block, *(_POST_NORMS if sandwiched else _BRANCHES)[site])
        if found is None:
            raise UsageError(f"{self.config.model_type} has no separate {site}: use resid_post")
        return found

    def logits(self, hidden: Tensor) -> Tensor:
        """Unembed hidden states that went through the final norm; float32 (..., vocabulary)."""
        raw = torch_linear.apply(self.head, hidden)
        # As the models do it: Cohere multiplies, Granite divides, Gemma 2 and 3 squash.
        scaled = raw.float()
        # Also a multiplication by one is a pass over a whole vocabulary per row.
        for name, scale in (("logit_scale", torch.mul), ("logits_scaling", torch.div)):
            factor = getattr(self.config, name, None) or 1.0
            scaled = scaled if factor == 1.0 else scale(scaled, factor)
        cap = getattr(self.config, "final_logit_softcapping", None)
        return scaled if cap is None else torch.tanh(scaled / cap) * cap

    def read(self, ids: Tensor, positions: Tensor, width: int, cache: Any = None) -> Tensor:
        """Return what the trunk makes of tokens: hidden states after the final norm, (rows, tokens, width).

        Args:
            ids: (rows, tokens).
            positions: of the tokens, (rows or 1, tokens); a column of the cache is a position.
            width: columns that are attended, at most.
            cache: read and written, where there is one.
        """
        settings: dict[str, Any] = {"use_cache": cache is not None}
        if cache is not None:
            settings["past_key_values" if "past_key_values" in self.inputs else "cache_params"] = cache
        # State spaces know no positions.
        if "position_ids" in self.inputs:
            settings["position_ids"] = positions.expand(len(ids), -1)
        mask = masks.build(self.config, positions, width, self.dtype)
        found: Tensor = self.trunk(input_ids=ids, attention_mask=mask, **settings).last_hidden_state
        return found

    @torch.inference_mode()
    def verify(self) -> None:
        """Compare the parts, read as batches are, with the whole: two rows of different lengths against single rows.

        Families that build a bias by position from a mask of one row per prompt (Bloom) cannot take a mask per token.

        Raises:
            ModelError: reading the parts gives something else than the model, or nothing.
        """
        ids = torch.tensor([[1, 2, 3], [2, 1, 1]], device=self.device)
        lengths = (3, 2)
        positions = torch.arange(3, device=self.device).expand(2, 3)
        single = [self.model(input_ids=ids[row : row + 1, :length]).logits[0] for row, length in enumerate(lengths)]
        handed: list[tuple[int, ...]] = []
        handles = [block.register_forward_hook(lambda *call: handed.append(_shape(call[2]))) for block in self.blocks]
        try:
            read = self.read(ids, positions, 3)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ModelError(
                f"{type(self.model).__name__} does not take a mask per token and row ({foreign.line(error)}): "
                f"{measured.alternative(self.config.model_type, 'torch')}"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
        if set(handed) != {(*ids.shape, self.config.hidden_size)}:
            raise ModelError(
                f"the layers of {type(self.model).__name__} do not hand on one residual stream each (they give arrays "
                f"of {' x '.join(map(str, handed[0] if handed else ()))} for 2 rows of 3 tokens), so there is no place "
                f"to read or inject at: {measured.alternative(self.config.model_type, 'torch')}"
            )
        self._require_numbers(single)
        parts = self.logits(read)
        tolerance = 1e-3 if self.dtype == torch.float32 else 5e-2
        for row, whole in enumerate(logits.float() for logits in single):
            if not (parts[row, : lengths[row]] - whole).abs().amax() <= tolerance * whole.abs().amax():
                raise ModelError(
                    f"{type(self.model).__name__} treats positions, masks or logits in an unknown way: "
                    f"{measured.alternative(self.config.model_type, 'torch')}"
                )

    def _require_numbers(self, logits: Iterable[Tensor]) -> None:
        """Refuse a model that computes NaN or infinity, with what is to blame.

        Raises:
            ModelError: the weights hold such numbers, or lead to them.
        """
        if not any(bool((one.isnan() | one.isposinf()).any()) for one in logits):
            return
        bad = next(
            (
                name
                for name, weight in self.model.named_parameters()
                if weight.is_floating_point() and not bool(weight.isfinite().all())
            ),
            None,
        )
        if bad is not None:
            raise ModelError(
                f"the weights hold numbers that are not finite ({bad} first): the files are damaged, or training went "
                "wrong; fetch the model again, or choose another"
            )
        raise ModelError(foreign.overflow(str(self.dtype).removeprefix("torch.")))


def _shape(output: Any) -> tuple[int, ...]:
    """Return the shape of what a block hands on; some give it first in a tuple."""
    return tuple((output[0] if isinstance(output, tuple) else output).shape)


@torch.inference_mode()
def _resumes(network: Network) -> bool:
    """Tell whether what layers carry has any part in how several tokens are read: numbers that are none would show."""
    ids = torch.tensor([[1, 2], [1, 2]], device=network.device)
    cache = SlotCache(len(network.blocks))
    for first in (0, 2):
        positions = torch.arange(first, first + 2, device=network.device)[None]
        cache.write = Write(slice(first, first + 2), first + 2, len(ids))
        try:
            read = network.read(ids, positions, first + 2, cache)
        except ValueError as error:
            raise ModelError(
                f"{type(network.model).__name__} keeps what its layers carry in a form of its own "
                f"({foreign.line(error)}): {measured.alternative(network.config.model_type, 'torch')}"
            ) from error
        if not first and not cache.spoil():
            return True
    return not bool(read.isfinite().all())


def _projection(block: nn.Module) -> nn.Module | None:
    """The module that takes what the heads of a block give into the stream; ``None`` where none is known."""
    attention = _first(block, *_BRANCHES["attn_out"])
    found = None if attention is None else _first(attention, *_PROJECTIONS)
    return found if isinstance(found, nn.Module) else None


def _heads(config: Any, blocks: Iterable[nn.Module]) -> tuple[int, int]:
    """Number and width of the heads, which must be alike in all blocks; zeros where they are not."""
    heads = getattr(config, "num_attention_heads", None) or 0
    widths = set()
    for block in blocks:
        projection = _projection(block)
        # transformers' Conv1D, of GPT-2, calls its inputs nx.
        inputs = _first(projection, "in_features", "nx") if projection is not None else None
        widths.add(inputs if isinstance(inputs, int) else 0)
    width = widths.pop() if len(widths) == 1 else 0
    return (heads, width // heads) if heads and width and width % heads == 0 else (0, 0)


def _first(module: Any, *paths: str) -> Any:
    """The first of several attribute paths that exists."""
    for path in paths:
        with contextlib.suppress(AttributeError):
            return attrgetter(path)(module)
    return None
