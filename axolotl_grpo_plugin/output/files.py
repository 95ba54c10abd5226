"""Write files that are whole or not there, and name a disk that is full."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axolotl_grpo_plugin.findings import Finding, FindingError, fault

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Of libraries that pass an error of the disk on as text: safetensors and pyarrow.
_FULL_TEXT = re.compile(r"No space left on device|[Dd]isk quota exceeded|File too large")
_PROBE = 1 << 20  # bytes; a disk that does not take them is full


@contextmanager
def written(file: Path) -> Iterator[Path]:
    """Yield a path to write to. After the block its file is on the disk, and then it gets its name.

    So a kill, a power cut or an error leaves the earlier file as it was.

    Args:
        file: The file to write, in a folder that exists.

    Raises:
        OSError: The file cannot be written. The error names it.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        yield part
        sync(part)
        os.replace(part, file)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, _reason(error), str(file)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(file: Path, text: str) -> None:
    """Write a text file in one step. It raises the errors of `written`."""
    with written(file) as part:
        part.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Wait until a file or a folder's list of files is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def existing(folder: str | Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an error of the disk in a with block into a finding.

    Args:
        path: What the block writes. An error that names a file is about that file.

    Raises:
        FindingError: The disk is full, or takes no file there.
    """
    try:
        yield
    except OSError as error:
        file = Path(str(error.filename2 or error.filename or path))
        code, fix = "cannot-be-written", "Name another folder"
        what = f"cannot be written: {_reason(error)}"
        if error.errno in _FULL:
            code, fix = "full-disk", "Free space, or name another folder"
            what += f" ({_free(file)})"
        raise FindingError(fault(code, str(file), what, fix)) from error
    except Exception as error:
        if finding := full_disk(error, path):
            raise FindingError(finding) from error
        raise


def full_disk(error: BaseException, path: Path) -> Finding | None:
    """Return a finding if an error means that the disk of a path is full, None otherwise.

    Args:
        error: Of any library. Some name neither the disk nor the file.
        path: The file or folder that was written.
    """
    if not (_is_full(error) or _refuses_bytes(path)):
        return None
    what = f"cannot be written: No space left on device ({_free(path)})"
    return fault("full-disk", str(path), what, "Free space")


def _is_full(error: BaseException | None) -> bool:
    """Return whether an error, or one that caused it, is that of a full disk."""
    while error:
        if isinstance(error, OSError) and error.errno in _FULL:
            return True
        if _FULL_TEXT.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _refuses_bytes(path: Path) -> bool:
    """Return whether the disk of a path takes no more bytes. torch does not say why it could not save."""
    folder = existing(path)
    if not folder.is_dir():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error.errno in _FULL
    return False


def _free(path: str | Path) -> str:
    free = shutil.disk_usage(existing(path)).free
    return f"{free:,} bytes free"


def _reason(error: OSError) -> str:
    """Return the system's words for an error. A library may have put its own words around them."""
    return os.strerror(error.errno) if error.errno else str(error)
