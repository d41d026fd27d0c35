"""`Target`: the storage of evaluations, a directory or any URL that fsspec supports (`--upload-to`).

Others may write to the target, so everything read from it is untrusted: names are built from checked ids, links in a local
target are not followed, and files that are not evaluations are ignored.

The file systems read credentials from their own variables (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN and so
on). Only an upload to `hf://` uses the caller's `api_key`, because its token is a plain secret. A key of `s3://` has three
parts, and a token of `gs://` may name a file on the server.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..errors import InvalidValueError, TargetUnavailableError, UploadTargetError
from ..runtime.making.dependencies import pip_command, requirement_of
from ..support.files import open_regular, read_regular, reason
from .evaluation import ENV_ID, EVALUATION_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

COPY_BYTES = 1 << 20
EVALUATION_FILE = "evaluation.json"
VERIFICATION_FILE = re.compile(r"verification\.[0-9]{8}T[0-9]{6}\.[0-9]{6}-[0-9a-f]{8}\.json")
"""Names of files that `results.verifications` writes."""

MODULES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
"""Modules that protocols need."""

TOKEN_OPTIONS = {"hf": "token"}
"""Options of file systems that take the caller's `api_key`, by protocol."""

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Protocols without directories, where `makedirs` would make a bucket."""


class Target:
    """Storage of evaluations in folders `<env_id>/<evaluation_id>/`. Thread-safe.

    Paths and folders in its methods are relative to the target and built from checked ids.

    Args:
        url: a path, or a URL that fsspec supports.

    Attributes:
        shown: the URL without its secrets.

    Raises:
        TargetUnavailableError: a package is missing, or the URL cannot be a target.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.shown = re.sub(r"://[^/@]*@", "://", url).partition("?")[0] if "://" in url else url
        self._protocol = url.partition("://")[0] if "://" in url else "file"
        self._secrets = [
            part for login in re.findall(r"://([^/@]*)@", url) for part in (login, *login.split(":")) if part
        ]
        self._fs, root = self._connect()
        self._root = root.rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)
        if self._protocol in MODULES and not self._root:
            raise TargetUnavailableError(f"--upload-to {self.shown} names no bucket or repository")
        if self._is_local and Path(root).exists() and not Path(root).is_dir():
            raise TargetUnavailableError(f"--upload-to {self.shown} is no directory")

    def check_writable(self) -> None:
        """Create a target on this machine if it does not exist, and check that it is writable.

        Raises:
            TargetUnavailableError: it cannot be written to.
        """
        directory = self.directory
        if directory is None:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise TargetUnavailableError(f"--upload-to {self.shown} cannot be written to: {error.strerror}") from None

    def _connect(self) -> tuple[Any, str]:
        try:
            return cast("tuple[Any, str]", fsspec.core.url_to_fs(self._url))
        except ImportError as error:
            requirement = requirement_of(MODULES.get(self._protocol, ""))
            # For other protocols fsspec's message names the package.
            install = (
                "" if requirement is None else f"; install it with: {pip_command(requirement, python=sys.executable)}"
            )
            raise TargetUnavailableError(
                f"--upload-to {self.shown} needs a package that is not installed: {_public_reason(error, self._secrets)}{install}"
            ) from None
        except Exception as error:  # noqa: BLE001 -- every file system of fsspec has its own errors
            raise TargetUnavailableError(
                f"--upload-to {self.shown} cannot be used: {_public_reason(error, self._secrets)}"
            ) from None

    @property
    def directory(self) -> Path | None:
        """Its absolute path if it is on this machine, else None."""
        return Path(self._root or "/").resolve() if self._is_local else None

    def listing(self) -> tuple[list[str], list[str]]:
        """Return the sorted paths of all files that may be evaluations, and of all that may be verifications.

        Raises:
            UploadTargetError: they cannot be listed.
        """
        with self._asking("list"):
            paths = sorted(self._local_paths() if self._is_local else self._remote_paths())
        paths = [path for path in paths if _is_in_folder(path)]
        evaluations = [path for path in paths if path.endswith(f"/{EVALUATION_FILE}")]
        return evaluations, [path for path in paths if VERIFICATION_FILE.fullmatch(path.rpartition("/")[2])]

    def _local_paths(self) -> Iterator[str]:
        root = Path(self._root or "/")
        if not root.exists():
            return
        # The deepest folders are <namespace>/<name>/<evaluation_id>; os.walk follows no links.
        for folder, below, files in os.walk(root, onerror=_raise_of(root)):
            parts = Path(folder).relative_to(root).parts
            if len(parts) >= 3:
                below.clear()
            yield from ("/".join((*parts, name)) for name in files)

    def _remote_paths(self) -> Iterator[str]:
        self._fs.invalidate_cache()
        try:
            # `find` returns nothing if the target cannot be reached.
            self._fs.ls(self._root or self._fs.root_marker, detail=False)
        except FileNotFoundError:
            return
        for path in self._fs.find(self._root or self._fs.root_marker):
            if path.startswith(f"{self._root}/"):
                yield path[len(self._root) + 1 :]

    def names(self, folder: str) -> list[str]:
        """Return the file names of a folder.

        Raises:
            FileNotFoundError: the folder does not exist.
            UploadTargetError: it cannot be listed.
        """
        with self._asking("list", folder, absence=True):
            paths = self._fs.ls(self._path(folder), detail=False)
        return [path.rsplit("/", 1)[-1] for path in paths]

    def read(self, path: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: it does not exist.
            UploadTargetError: it cannot be read.
        """
        with self._asking("read", path, absence=True):
            data: bytes = read_regular(self._path(path)) if self._is_local else self._fs.cat_file(self._path(path))
        return data

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the sizes in bytes of the files of a folder, by name.

        Raises:
            FileNotFoundError: the folder does not exist.
            UploadTargetError: it cannot be listed.
        """
        with self._asking("list", folder, absence=True):
            entries = self._fs.ls(self._path(folder), detail=True)
        files = ((entry["name"].rsplit("/", 1)[-1], entry) for entry in entries if entry["type"] == "file")
        return {name: int(entry["size"]) for name, entry in files if not entry.get("islink")}

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return at most `length` bytes of a file from an offset, none at its end; nothing stays open.

        Raises:
            FileNotFoundError: it does not exist.
            UploadTargetError: it cannot be read.
        """
        with self._asking("read", path, absence=True):
            if not self._is_local:
                return bytes(self._fs.cat_file(self._path(path), start=start, end=start + length))
            with open_regular(self._path(path)) as file:
                file.seek(start)
                return file.read(length)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading, seekable.

        Raises:
            FileNotFoundError: it does not exist.
            UploadTargetError: it cannot be opened.
        """
        with self._asking("read", path, absence=True):
            file: BinaryIO = open_regular(self._path(path)) if self._is_local else self._fs.open(self._path(path), "rb")
        return file

    def save(self, folder: str, files: Sequence[tuple[str, bytes | Path]], api_key: str) -> None:
        """Write files into a new folder, in order; if one fails, remove the folder.

        Args:
            folder: the new folder.
            files: names and contents: bytes, or the path of a file on this machine.
            api_key: passed to a target that takes a token, and not kept.

        Raises:
            InvalidValueError: the target takes a token, and `api_key` cannot be one.
            UploadTargetError: the target refuses.
        """
        fs, hidden = self._fs, self._secrets
        if self._protocol in TOKEN_OPTIONS:
            if not (api_key.isascii() and api_key.isprintable()):
                raise InvalidValueError("api_key is to be a token of printable ASCII, for it is handed to the target")
            hidden = [*hidden, api_key]
        with self._asking("write to", folder, hidden=hidden):
            if self._protocol in TOKEN_OPTIONS:
                # fsspec caches file systems by their arguments, which would keep the token.
                token = {TOKEN_OPTIONS[self._protocol]: api_key}
                fs = fsspec.filesystem(self._protocol, skip_instance_cache=True, **token)
            path = self._path(folder)
            try:
                if self._protocol not in OBJECT_STORES:
                    fs.makedirs(path, exist_ok=True)
                for name, contents in files:
                    self._write(fs, f"{path}/{name}", contents)
            except BaseException:
                with contextlib.suppress(Exception):
                    fs.rm(path, recursive=True)
                raise
            self._fs.invalidate_cache()

    def add(self, path: str, contents: bytes) -> None:
        """Write a file into a folder that exists, as a whole or not at all.

        Raises:
            UploadTargetError: the target refuses.
        """
        with self._asking("write to", path):
            self._write(self._fs, self._path(path), contents)
            self._fs.invalidate_cache()

    def _write(self, fs: Any, path: str, contents: bytes | Path) -> None:
        if isinstance(contents, Path):
            with open_regular(contents) as source, fs.open(path, "wb") as copy:
                shutil.copyfileobj(source, copy, COPY_BYTES)
        elif self._is_local:
            # On other targets writes are atomic; here a reader could see a part of the file.
            unfinished = Path(f"{path}.{secrets.token_hex(4)}~")
            try:
                unfinished.write_bytes(contents)
                unfinished.replace(path)
            except BaseException:
                unfinished.unlink(missing_ok=True)
                raise
        else:
            fs.pipe_file(path, contents)

    def _path(self, relative: str) -> str:
        path = f"{self._root}/{relative}"
        if self._is_local and not Path(path).resolve().is_relative_to(Path(self._root or "/").resolve()):
            raise FileNotFoundError(path)
        return path

    @contextlib.contextmanager
    def _asking(
        self, what: str, path: str = "", *, absence: bool = False, hidden: Sequence[str] | None = None
    ) -> Iterator[None]:
        """Convert the errors of a file system to `UploadTargetError`; with `absence`, keep FileNotFoundError."""
        try:
            yield
        except InvalidValueError:
            raise
        except Exception as error:  # noqa: BLE001 -- every file system of fsspec has its own errors
            if absence and isinstance(error, FileNotFoundError):
                raise FileNotFoundError(path) from None
            where = f"{self.shown.rstrip('/')}/{path}" if path else self.shown
            why = _public_reason(error, self._secrets if hidden is None else hidden)
            raise UploadTargetError(f"cannot {what} {where}: {why}") from None


def _is_in_folder(path: str) -> bool:
    """Return whether a path may be that of a file in the folder of an evaluation."""
    *env_id, evaluation_id, _ = path.split("/") if path.count("/") >= 2 else ["", "", ""]
    return EVALUATION_ID.fullmatch(evaluation_id) is not None and ENV_ID.fullmatch("/".join(env_id)) is not None


def _raise_of(root: Path) -> Any:
    def on_error(error: OSError) -> None:
        if error.filename in (str(root), root):
            raise error
        logger.warning("a folder of the upload target cannot be read and is passed over: %s", error)

    return on_error


def _public_reason(error: BaseException, hidden: Sequence[str]) -> str:
    """Return the text of an error in one line, or only its class if the text contains a secret."""
    why = " ".join(reason(error).split())
    if not why or any(secret in why or repr(secret)[1:-1] in why for secret in hidden):
        return type(error).__name__
    return why if len(why) <= 300 else why[:300] + "…"
