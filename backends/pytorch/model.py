"""A Hugging Face causal model: loading it, and finding the parts this project touches.

Every part is found by name, checked on a three-token forward pass, and refused with the architecture's name when it is
not what it should be. Nothing here changes a model.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from ..base import Site
from ..errors import ModelError, PrerequisiteError, UsageError
from ..models import foreign
from ..models.sources import ModelSource
from . import attention as torch_attention
from . import devices
from . import linear as torch_linear

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_TRUNKS = (
    "model",
    "model.language_model",
    "language_model.model",
    "language_model",
    "model.decoder",
    "transformer",
    "gpt_neox",
)
"""Where the module that turns ids into the last hidden state lies."""
_BLOCKS = ("layers", "h")
_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")
_POST_NORMS = {
    "attn_out": ("post_attention_layernorm", "post_self_attn_layernorm"),
    "mlp_out": ("post_feedforward_layernorm", "post_mlp_layernorm"),
}
_BRANCHES = {"attn_out": ("self_attn", "attn", "attention"), "mlp_out": ("mlp", "feed_forward", "block_sparse_moe")}
_PROJECTIONS = ("o_proj", "out_proj", "dense", "c_proj", "wo")
"""What takes the heads' outputs into the stream, in the module of attention."""
_LAYER_TYPES = {"full_attention", "sliding_attention"}


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The parts of a causal model. Build it with ``Network.of``."""

    model: Any
    trunk: nn.Module
    """Token ids to the hidden state after the final norm."""
    blocks: tuple[nn.Module, ...]
    norm: nn.Module
    head: nn.Module
    config: Any
    """Configuration of the text part."""
    linears: tuple[nn.Linear, ...]
    """What ``torch_linear.few_tokens`` can take over."""
    heads: int
    """Attention heads of a block; 0 where they cannot be told apart before their projection."""
    head_width: int
    """Columns of a head, as it is handed to the projection."""

    @classmethod
    def of(cls, model: Any) -> Network:
        """Find the parts.

        Raises:
            ModelError: the architecture is laid out in a way not known here.
        """
        config = model.config.get_text_config(decoder=True)
        unknown = set(getattr(config, "layer_types", None) or ()) - _LAYER_TYPES
        if unknown:
            raise ModelError(
                f"{config.model_type} has layers of type {', '.join(sorted(unknown))}: only attention over all "
                "earlier tokens or a sliding window is supported, so choose another model"
            )
        head = model.get_output_embeddings()
        for path in _TRUNKS:
            trunk = _first(model, path)
            blocks, norm = _first(trunk, *_BLOCKS), _first(trunk, *_NORMS)
            if isinstance(blocks, nn.ModuleList) and norm is not None and head is not None:
                heads = _heads(config, blocks)
                return cls(model, trunk, tuple(blocks), norm, head, config, torch_linear.linears(trunk), *heads)
        raise ModelError(
            f"no decoder layers, final norm and output embedding found in {type(model).__name__} "
            f"({config.model_type}): this architecture is not supported, choose another model"
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
        """A tensor with the dtype and device of the stream's last part: of the final norm, or of the head where the
        norm has no weights (OLMo 1)."""
        found: Any = next(self.norm.parameters(), self.head.weight)
        return found  # type: ignore[no-any-return]

    @property
    def sizes(self) -> dict[Site, int]:
        """Columns of the activation at each site."""
        width = self.config.hidden_size
        return {
            "resid_post": width,
            "attn_out": width,
            "mlp_out": width,
            "head_out": self.heads * self.head_width,
        }

    def site(self, layer: int, site: Site) -> nn.Module:
        """The module whose (first) output is the activation at a site; for ``head_out``, whose input is."""
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

    def masks(self, positions: Tensor, width: int) -> Any:
        """Return which columns are attended, a column being a position; in the form the model takes them in.

        Args:
            positions: of the queries, (rows or 1, tokens).
            width: columns there are.

        Returns:
            bool (rows or 1, 1, tokens, columns); additive for eager attention; per type of layer where there are two.
        """
        columns = torch.arange(width, device=positions.device)
        where = positions[:, None, :, None]
        full = columns <= where
        window = getattr(self.config, "sliding_window", None) or 0
        kinds = set(getattr(self.config, "layer_types", None) or (["sliding_attention"] if window else []))
        kinds = kinds or {"full_attention"}
        masks = {kind: full if kind == "full_attention" else full & (columns > where - window) for kind in kinds}
        if self.config._attn_implementation == "eager":
            least = torch.finfo(self.dtype).min
            masks = {
                kind: torch.zeros_like(mask, dtype=self.dtype).masked_fill_(~mask, least)
                for kind, mask in masks.items()
            }
        return masks if len(masks) > 1 else next(iter(masks.values()))

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
        try:
            read = self.trunk(
                input_ids=ids, attention_mask=self.masks(positions, 3), position_ids=positions, use_cache=False
            )
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ModelError(
                f"{type(self.model).__name__} does not take a mask per token and row ({foreign.line(error)}): "
                "this architecture is not supported, choose another model"
            ) from error
        self._require_numbers(single)
        parts = self.logits(read.last_hidden_state)
        tolerance = 1e-3 if self.dtype == torch.float32 else 5e-2
        for row, whole in enumerate(logits.float() for logits in single):
            if not (parts[row, : lengths[row]] - whole).abs().amax() <= tolerance * whole.abs().amax():
                raise ModelError(
                    f"{type(self.model).__name__} treats positions, masks or logits in an unknown way: "
                    "this architecture is not supported, choose another model"
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


def load_model(
    source: ModelSource, *, device: str, dtype: str, quantize: str | None = None, own_attention: bool = True
) -> Any:  # a transformers model; the library is untyped
    """Load weights from a local folder.

    Args:
        source: the folder; nothing is fetched.
        device: ``cpu``, ``mps``, ``cuda``, ``cuda:1``...; ``cuda`` spreads a model too large for one GPU over all.
        dtype: a key of ``DTYPES``.
        quantize: ``4bit`` to quantise while loading (NF4, CUDA only).
        own_attention: whether this project's attention takes the place of transformers'.

    Raises:
        PrerequisiteError: a library or device is missing.
        ModelError: the files are damaged, incomplete, of an unknown architecture, or too large.
    """
    _check_quantization(source)
    options: dict[str, Any] = {"dtype": DTYPES[dtype], "local_files_only": True}
    placement = devices.placement(device, source, dtype, quantize)
    if quantize is not None:
        options["quantization_config"] = devices.four_bit(quantize, device, DTYPES[dtype])
    if placement is not None:
        options["device_map"] = placement
    again = "fetch or save the model again, or choose another"
    with foreign.loading(f"{source.name} cannot be loaded from {source.folder}", again):
        try:
            model, report = _pretrained(source, options)
            if placement is None:
                model.to(device)
        except ImportError as error:
            raise PrerequisiteError(f"{source.name} cannot be loaded: {foreign.line(error)}") from error
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ModelError(
                f"{source.name} does not fit into the memory of {device}: choose a smaller model, or --quantize 4bit"
            ) from error
    _check_report(source, report)
    if own_attention:
        torch_attention.use_in(model)
    return model.eval()


_UNUSED = re.compile(
    # Tables that older releases stored, and layers for speculative decoding, which no forward pass uses.
    r"rotary_emb\.inv_freq$|(^|\.)(attn|attention)\.(masked_)?bias$|(^|\.)mtp\."
)


def _check_report(source: ModelSource, report: Mapping[str, Any]) -> None:
    """Refuse weights that are missing, and weights that the model does not use.

    transformers fills what is missing with random numbers and leaves out what is too much, and goes on.
    """
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if absent:
        raise ModelError(
            f"{source.name} is incomplete: {len(absent)} weights, {absent[0]} first, are missing from "
            f"{source.folder} or have another shape; fetch the model again"
        )
    extra = sorted(key for key in report["unexpected_keys"] if not _UNUSED.search(key))
    if extra:
        raise ModelError(
            f"{source.folder} holds {len(extra)} weights that the model of config.json does not use, {extra[0]} first: "
            "configuration and weights belong to different models; fetch or save the model again"
        )


def _check_quantization(source: ModelSource) -> None:
    if "quantization" in source.config:
        raise ModelError(f"{source.name} holds weights quantised for MLX: use --backend mlx, or an unquantised model")
    if (source.folder / "hf_quant_config.json").exists():
        raise ModelError(
            f"{source.name} was quantised by NVIDIA ModelOpt (hf_quant_config.json), which transformers does not read: "
            "use the original model"
        )


def _pretrained(source: ModelSource, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    config = configuration(source)
    text = config.get_text_config(decoder=True)
    # Soft-capped attention exists in the eager form only; SDPA would leave the cap out.
    attention = ["eager"] if getattr(text, "attn_logit_softcapping", None) else ["sdpa", "eager"]
    kinds = AutoModelForCausalLM._model_mapping
    family = AutoModelForCausalLM if type(config) in kinds else AutoModelForImageTextToText
    for implementation in attention:
        try:
            return family.from_pretrained(  # type: ignore[no-any-return]
                source.folder,
                config=config,
                attn_implementation=implementation,
                output_loading_info=True,
                **options,
            )
        except ValueError as error:
            if implementation == attention[-1] or "scaled_dot_product_attention" not in str(error):
                raise
    raise AssertionError("unreachable")


_NOT_ASKED = frozenset({"_attn_implementation", "attn_implementation", "_experts_implementation", "auto_map"})
"""Keys of config.json that name code; which code runs is decided here."""


def configuration(source: ModelSource) -> Any:
    """The transformers configuration that config.json stands for, without what it says of code to run."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = source.config.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise ModelError(
            f"transformers knows no model of the type {kind!r} ({source.name}): upgrade it with "
            "`pip install -U transformers`, or choose another model"
        )
    return CONFIG_MAPPING[kind].from_dict(_without(source.config))


def _without(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in settings.items() if key not in _NOT_ASKED}


def _plain(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return [_plain(one) for one in value] if isinstance(value, list) else value
    # transformers writes numbers that JSON has no word for in this form.
    return float(value["__float__"]) if value.keys() == {"__float__"} else _without(value)


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
