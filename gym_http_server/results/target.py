"""`Target`: the storage of evaluations, a directory or any URL that fsspec supports (`--upload-to`).

Everything below the target is untrusted when it is read: others may write there as well. Names are built from checked ids,
links in a local target are not followed, and what is no evaluation is passed over.

Credentials are the target's own affair (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN and so on), with one
exception: `hf://` takes a token that is a plain secret, so an upload there uses the caller's `api_key`. `s3://` has a key of
three parts, and what `gs://` calls a token may name a file of the server's, so neither is given it.
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
from ..support.files import open_regular, read_regular
from .evaluation import ENV_ID, EVALUATION_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

COPY_BYTES = 1 << 20
EVALUATION_FILE = "evaluation.json"
MODULES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub"}
"""The module that a protocol needs."""

TOKEN_OPTIONS = {"hf": "token"}
"""The option of a protocol's file system that takes the caller's `api_key`."""

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
"""Those without directories; asked to make one, they make a bucket."""


class Target:
    """A place that evaluations are kept in, at `<env_id>/<evaluation_id>/`; safe to use from several threads.

    Args:
        url: a path, or a URL that fsspec knows.

    Attributes:
        shown: the URL without what is secret in it.

    Raises:
        TargetUnavailableError: a package for it is not installed, or it cannot be a target.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.shown = re.sub(r"://[^/@]*@", "://", url).partition("?")[0] if "://" in url else url
        self._protocol = url.partition("://")[0] if "://" in url else "file"
        self._secrets = [part for each in re.findall(r"://([^/@]*)@", url) for part in (each, *each.split(":")) if part]
        self._fs, root = self._connect()
        self._root = root.rstrip("/")
        self._is_local = isinstance(self._fs, LocalFileSystem)
        if self._protocol in MODULES and not self._root:
            raise TargetUnavailableError(f"--upload-to {self.shown} names no bucket or repository")
        if self._is_local and Path(root).exists() and not Path(root).is_dir():
            raise TargetUnavailableError(f"--upload-to {self.shown} is no directory")

    def check_writable(self) -> None:
        """See to it that a target that is a directory of this machine exists and can be written to.

        Raises:
            TargetUnavailableError: it cannot.
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
            # fsspec says what the other protocols need.
            install = (
                "" if requirement is None else f"; install it with: {pip_command(requirement, python=sys.executable)}"
            )
            raise TargetUnavailableError(
                f"--upload-to {self.shown} needs a package that is not installed: {_reason(error, self._secrets)}{install}"
            ) from None
        except Exception as error:  # noqa: BLE001 -- each of fsspec's file systems has errors of its own
            raise TargetUnavailableError(
                f"--upload-to {self.shown} cannot be used: {_reason(error, self._secrets)}"
            ) from None

    @property
    def directory(self) -> Path | None:
        """Where it is, where it is a directory of this machine."""
        return Path(self._root or "/").resolve() if self._is_local else None

    def evaluations(self) -> list[str]:
        """Return the paths, relative to the target, of all files that may be evaluations.

        Raises:
            UploadTargetError: they cannot be listed.
        """
        with self._asking("list"):
            paths = list(self._local_paths() if self._is_local else self._remote_paths())
        return sorted(filter(_may_be_evaluation, paths))

    def _local_paths(self) -> Iterator[str]:
        root = Path(self._root or "/")
        if not root.exists():
            return
        # The deepest are <namespace>/<name>/<evaluation_id>; os.walk follows no links.
        for folder, below, files in os.walk(root, onerror=_raise_of(root)):
            parts = Path(folder).relative_to(root).parts
            if len(parts) >= 3:
                below.clear()
            if EVALUATION_FILE in files:
                yield "/".join((*parts, EVALUATION_FILE))

    def _remote_paths(self) -> Iterator[str]:
        self._fs.invalidate_cache()
        try:
            # `find` takes what cannot be reached for empty.
            self._fs.ls(self._root or self._fs.root_marker, detail=False)
        except FileNotFoundError:
            return
        for path in self._fs.find(self._root or self._fs.root_marker):
            if path.startswith(f"{self._root}/"):
                yield path[len(self._root) + 1 :]

    def names(self, folder: str) -> list[str]:
        """Return the names of the files of a folder.

        Args:
            folder: relative to the target, of checked parts, as everywhere here.

        Raises:
            FileNotFoundError: there is no such folder.
            UploadTargetError: it cannot be listed.
        """
        with self._asking("list", folder, absence=True):
            paths = self._fs.ls(self._path(folder), detail=False)
        return [path.rsplit("/", 1)[-1] for path in paths]

    def read(self, path: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: there is none.
            UploadTargetError: it cannot be read.
        """
        with self._asking("read", path, absence=True):
            data: bytes = read_regular(self._path(path)) if self._is_local else self._fs.cat_file(self._path(path))
        return data

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading, seekable.

        Raises:
            FileNotFoundError: there is none.
            UploadTargetError: it cannot be opened.
        """
        with self._asking("read", path, absence=True):
            file: BinaryIO = open_regular(self._path(path)) if self._is_local else self._fs.open(self._path(path), "rb")
        return file

    def save(self, folder: str, files: Sequence[tuple[str, bytes | Path]], api_key: str) -> None:
        """Write files into a new folder, in their order; where one fails, take those before it away again.

        Args:
            folder: relative to the target.
            files: name and contents: bytes, or a file of this machine.
            api_key: handed to a target that takes a token, for this call only.

        Raises:
            InvalidValueError: the target takes a token, and this can be none.
            UploadTargetError: the target refuses.
        """
        fs, hidden = self._fs, self._secrets
        if self._protocol in TOKEN_OPTIONS:
            if not (api_key.isascii() and api_key.isprintable()):
                raise InvalidValueError("api_key is to be a token of printable ASCII, for it is handed to the target")
            hidden = [*hidden, api_key]
        with self._asking("write to", folder, hidden=hidden):
            if self._protocol in TOKEN_OPTIONS:
                # Its file systems are kept by their arguments, the token among them, if they are not told not to.
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

    def _write(self, fs: Any, path: str, contents: bytes | Path) -> None:
        if isinstance(contents, Path):
            with open_regular(contents) as source, fs.open(path, "wb") as copy:
                shutil.copyfileobj(source, copy, COPY_BYTES)
        elif self._is_local:
            # Elsewhere a file is there as a whole or not at all; here one that is half written could be read.
            unfinished = Path(f"{path}.{secrets.token_hex(4)}~")
            unfinished.write_bytes(contents)
            unfinished.replace(path)
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
        """Turn whatever a file system raises into an `UploadTargetError`, but, with `absence`, FileNotFoundError."""
        try:
            yield
        except InvalidValueError:
            raise
        except Exception as error:  # noqa: BLE001 -- each of fsspec's file systems has errors of its own
            if absence and isinstance(error, FileNotFoundError):
                raise FileNotFoundError(path) from None
            where = f"{self.shown.rstrip('/')}/{path}" if path else self.shown
            reason = _reason(error, self._secrets if hidden is None else hidden)
            raise UploadTargetError(f"cannot {what} {where}: {reason}") from None


def _may_be_evaluation(path: str) -> bool:
    *env_id, evaluation_id, name = path.split("/") if path.count("/") >= 2 else ["", "", ""]
    return (
        name == EVALUATION_FILE
        and EVALUATION_ID.fullmatch(evaluation_id) is not None
        and ENV_ID.fullmatch("/".join(env_id)) is not None
    )


def _raise_of(root: Path) -> Any:
    def on_error(error: OSError) -> None:
        if error.filename in (str(root), root):
            raise error
        logger.warning("a folder of the upload target cannot be read and is passed over: %s", error)

    return on_error


def _reason(error: BaseException, hidden: Sequence[str]) -> str:
    """Return why something failed, in one line, or its class alone where its words hold a secret."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    why = " ".join(why.split())
    if not why or any(each in why or repr(each)[1:-1] in why for each in hidden):
        return type(error).__name__
    return why if len(why) <= 300 else why[:300] + "…"
