"""What Modal refuses, in one line with the fix."""

from collections.abc import Iterator
from contextlib import contextmanager

from modal import exception

from axolotl_grpo_plugin.findings import ConfigError, first_line

# By type, and by what the message holds; the first that fits counts.
_MENDS: tuple[tuple[type[Exception], str, str, str], ...] = (
    (exception.AuthError, "Token missing", "there is no token here", "Run `modal token new`"),
    (exception.AuthError, "", "the token is refused", "Run `modal token new`"),
    (
        exception.ConnectionError,
        "",
        "does not answer",
        "Look at the network, and at https://status.modal.com",
    ),
    (
        exception.InvalidError,
        "gpu",
        "does not give this GPU",
        "Set another gpu or gpu_count in cloud.yaml; https://modal.com/docs/guide/gpu has all",
    ),
    (
        exception.PermissionDeniedError,
        "",
        "this token may not do that",
        "Ask the workspace's owner for the right to it, or name Volumes and Secrets of your own in "
        "cloud.yaml",
    ),
    (
        exception.NotFoundError,
        "Secret",
        "there is no such Secret",
        "Make it with `modal secret create`, or remove it from cloud.yaml's secrets",
    ),
    (
        exception.RemoteError,
        "Image build",
        "the image cannot be built, and its log above says why",
        "Look at image, apt_install and pip_install in cloud.yaml",
    ),
    (
        exception.FunctionTimeoutError,
        "",
        "cloud.yaml's timeout is over",
        "The same command goes on from the last checkpoint; timeout can be 86400 (a day) at most",
    ),
    (
        exception.RemoteError,
        "",
        "the container was ended (the app stopped, memory out, or lost)",
        "The same command goes on from the last checkpoint; if memory was out, raise memory in cloud.yaml",
    ),
    (
        exception.InternalFailure,
        "",
        "lost the container",
        "The same command goes on from the last checkpoint",
    ),
    (
        exception.ResourceExhaustedError,
        "",
        "the workspace's limit is reached",
        "Stop other apps (`modal app list`), or look at the plan's limits",
    ),
    (exception.ConflictError, "", "this client does not fit", "pip install --upgrade modal"),
    (exception.VersionError, "", "this client does not fit", "pip install --upgrade modal"),
    (
        exception.ExecutionError,
        "modified during build",
        "a file changed while it was sent",
        "Start again when nothing writes to it (`touch` it if its date lies ahead), or add it to ignore "
        "in cloud.yaml",
    ),
)


@contextmanager
def in_one_line() -> Iterator[None]:
    """Within, what Modal's client raises ends the program with one line: what is wrong, and the fix."""
    try:
        yield
    except exception.Error as error:
        raise ConfigError(f"axolotl-grpo-plugin: Modal: {said(error)}") from error


def said(error: exception.Error) -> str:
    """What is wrong, the client's own words, and the fix."""
    own = first_line(error).rstrip(".")
    for kind, holds, what, fix in _MENDS:
        if isinstance(error, kind) and holds.lower() in str(error).lower():
            if holds:  # the client's own text, whose first sentence says it
                own = own.partition(". ")[0]
            return f"{what}{f' ({own})' if own else ''}. {fix}."
    return (
        f"{own or type(error).__name__}. See https://modal.com/docs, or https://status.modal.com."
    )
