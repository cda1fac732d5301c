"""What goes wrong between this machine and the Hugging Face hub, in one line that says what to do."""

from __future__ import annotations

import errno

from ...errors import KnownError, ModelError, UsageError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explain(error: Exception, repository: str, revision: str = "main") -> KnownError:
    """Return what went wrong with the hub, in one line that says what to do."""
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repository}"
    elsewhere = f"run `mlxintro models fetch {repository}` where there is a network, or use a local folder or smollm2"
    chain = _chain(error)
    if any(isinstance(e, errors.GatedRepoError) for e in chain):
        return ModelError(f"{repository} is gated: accept its licence at {page}, then run `hf auth login`")
    if any(isinstance(e, errors.RevisionNotFoundError) for e in chain):
        return ModelError(f"{repository} has no revision {revision!r}: see {page}/commits")
    if any(isinstance(e, errors.RepositoryNotFoundError) for e in chain):
        return ModelError(f"the hub has no model {repository}, or it is private: check {page}, or run `hf auth login`")
    if any(isinstance(e, errors.DisabledRepoError) for e in chain):
        return ModelError(f"the hub has disabled {repository}: see {page}, or choose another model")
    if any(isinstance(e, errors.RemoteEntryNotFoundError) for e in chain):
        return ModelError(f"{repository} has no config.json, so it is not a model in the usual form: see {page}")
    if any(isinstance(e, errors.HFValidationError) for e in chain):
        return UsageError(f"{repository!r} is no hub id: it must look like owner/name or owner/name@revision")
    if any(isinstance(e, errors.OfflineModeIsEnabled) for e in chain) or constants.is_offline_mode():
        return ModelError(f"{repository} is not on disk and HF_HUB_OFFLINE is set: unset it, or {elsewhere}")
    for e in chain:
        if isinstance(e, OSError) and e.errno in _NO_SPACE:
            return ModelError(
                f"the disk is full while fetching {repository}: make room in {constants.HF_HUB_CACHE} or point HF_HOME "
                "at a larger disk, and fetch again; what has arrived is kept"
            )
        if isinstance(e, PermissionError):
            return ModelError(f"cannot write to {constants.HF_HUB_CACHE}: point HF_HOME at a folder of yours")
    for e in chain:
        if isinstance(e, errors.HfHubHTTPError) and e.response is not None:
            code = e.response.status_code
            if code in (401, 403):
                return ModelError(
                    f"the hub refuses access to {repository} ({code}): renew the token with `hf auth login`"
                )
            return ModelError(f"the hub answers {code} for {repository}: try again later, or {elsewhere}")
    if isinstance(error, OSError) or _is_http(error):
        return ModelError(
            f"the connection to {constants.ENDPOINT} failed while fetching {repository}: fetch again (what has arrived "
            f"is kept), or {elsewhere}"
        )
    raise error


def _is_http(error: Exception) -> bool:
    """Whether an exception comes from the HTTP client, whichever of its versions the hub library uses."""
    return any(kind.__module__.split(".")[0].startswith("httpx") for kind in type(error).__mro__)


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what caused it."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    return chain
