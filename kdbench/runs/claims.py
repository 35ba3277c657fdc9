"""Claims: who runs a cell or trains a teacher now, so that several sweeps on one store run nothing twice.

A claim is a numbered chain of files beside the records, ``<results>/.claims/<identity>.<n>``. Each file names an
owner or says that the owner before it released the claim. The last file of a chain counts. A chain only grows, by
a hard link to a file that is complete already: of several processes that want to be number n, exactly one
succeeds, whether they claim what is free, release what they hold, or take over what a dead owner held. Chains are
removed when what they protect has a done record, which every taker looks for after it has taken.

An owner touches its files every ten seconds. It counts as gone when its process is dead, seen from the same
host, or when its last file was not touched for three minutes, by the clock of the file system itself.

What the file system must guarantee when several machines share a store (a local disk, NFS 3 and later, Lustre,
GPFS and BeeGFS do): ``link`` is atomic and fails where the name exists, ``rename`` is atomic, and other hosts see
a file's modification time at most a minute late. They must also find a new file by its name at once, which NFS
does with the mount option ``lookupcache=positive``: else what another host has just done may be run again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from kdbench.errors import UserError
from kdbench.executors.base import INTERRUPTED
from kdbench.files import read_regular
from kdbench.runs.claims_owner import Owner
from kdbench.specs import Spec

CLAIMS = ".claims"
HEARTBEAT = 10.0
"""Seconds between two touches."""
STALE = 180.0
"""Seconds without a touch after which an owner counts as gone: many heartbeats, and a minute of NFS caches."""

UNKNOWN = Owner(host="", kernel="", pid=0, started="", token="")
"""An owner that cannot be read."""


class ClaimFile(Spec):
    """One file of a chain."""

    owner: Owner | None
    """Who holds the claim; None: it was released."""


class Claims:
    """The claims that this process holds on a store's identities; a context that releases all of them at its end.

    Args:
        results: The store's folder.
        lost: Called once, from another thread, when another process took over what this one holds.
        heartbeat: Seconds between two touches.
        stale: Seconds without a touch after which an owner counts as gone.
    """

    def __init__(
        self,
        results: Path,
        lost: Callable[[], None] = lambda: None,
        *,
        heartbeat: float = HEARTBEAT,
        stale: float = STALE,
    ) -> None:
        self.folder = results / CLAIMS
        self.owner = Owner.here()
        self.lost, self.heartbeat, self.stale = lost, heartbeat, stale
        self.held: dict[str, int] = {}
        """Identity -> number of the file that is ours."""
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Claims:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._beating is not None:
            self._beating.join()
        for identity in list(self.held):
            self.release(identity)

    def take(self, identity: str) -> bool:
        """Take a claim and return whether this process holds it. Raises UserError if claims cannot be written."""
        if identity in self.held:
            return True
        try:
            self._prepare()
            number, owner = self._last(identity)
            if owner is not None and not self._gone(identity, number, owner):
                return False
            if not self._append(identity, number + 1, ClaimFile(owner=self.owner)):
                return False
        except OSError as error:
            raise UserError(
                f"cannot write claims in {self.folder}: {error.strerror or error}. "
                "Choose a results folder that can be written, on a file system with hard links."
            ) from error
        with self._guard:
            self.held[identity] = number + 1
        self._beat()
        return True

    def release(self, identity: str, *, done: bool = False) -> None:
        """Release a claim; if the training is ``done``, remove its files."""
        with self._guard:
            number = self.held.pop(identity)
        with contextlib.suppress(OSError):  # then it goes stale by itself
            if done:
                for step in reversed(range(number + 1)):  # a part of a chain that stays is free
                    self._file(identity, step).unlink(missing_ok=True)
            else:
                self._append(identity, number + 1, ClaimFile(owner=None))

    def left(self) -> set[str]:
        """Return the identities that have a chain, held or not."""
        return {path.name.partition(".")[0] for path in self.folder.glob("[0-9a-f]*")}

    def holder(self, identity: str) -> Owner | None:
        """Return the living owner of a claim, in this process or another; None where it is free."""
        number, owner = self._last(identity)
        return None if owner is None or self._gone(identity, number, owner) else owner

    def _file(self, identity: str, number: int) -> Path:
        return self.folder / f"{identity}.{number}"

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ignore = self.folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")

    def _last(self, identity: str) -> tuple[int, Owner | None]:
        """Return the number and owner of a chain's last file; -1 where there is no chain."""
        number, owner = -1, None
        while True:
            try:
                text = read_regular(self._file(identity, number + 1))
            except FileNotFoundError:
                return number, owner
            number, owner = number + 1, _owner(text)

    def _append(self, identity: str, number: int, entry: ClaimFile) -> bool:
        """Write that file of the chain and return True; False if another process was first."""
        draft = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            draft.write_text(entry.model_dump_json())
            os.link(draft, self._file(identity, number))
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _gone(self, identity: str, number: int, owner: Owner) -> bool:
        if owner.dead():
            return True
        try:
            touched = self._file(identity, number).stat().st_mtime
        except FileNotFoundError:
            return False  # done in this moment: the next look finds no chain
        return self._now() - touched > self.stale

    def _now(self) -> float:
        """Return the file system's clock, s; this host's where the folder is read-only (``kdbench status``)."""
        clock = self.folder / f".{uuid.uuid4().hex}.tmp"
        try:
            clock.touch()
            now = clock.stat().st_mtime
            clock.unlink()
        except OSError:
            return time.time()
        return now

    def _beat(self) -> None:
        if self._beating is None:
            self._beating = threading.Thread(target=self._touch_all, name="claims", daemon=True)
            self._beating.start()

    def _touch_all(self) -> None:
        """Touch what is held until the end; call ``lost`` when another process took it over."""
        while not self._ended.wait(self.heartbeat):
            with self._guard:
                held = dict(self.held)
            for identity, number in held.items():
                with contextlib.suppress(OSError):  # a hanging mount: the next beat may reach it
                    os.utime(self._file(identity, number))
                    if self._file(identity, number + 1).exists() and identity in self.held:
                        self.lost()
                        return


def give_up() -> None:
    """End this process: another one took it for dead and runs its cells, whose checkpoints it would spoil."""
    print("another process took over the claims of this one", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)


def _owner(text: bytes) -> Owner | None:
    """Read the owner in a file; an unreadable one (of a newer kdbench) counts as alive until it is stale."""
    try:
        return ClaimFile.model_validate_json(text).owner
    except ValidationError:
        return UNKNOWN
