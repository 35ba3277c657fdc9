"""Runs several trainings in turns in one thread; each runs until it requests its next batch.

The code of a training needs no change: where its loader would load a batch, it waits for its turn, on a stack of
its own (a greenlet). Only one lane runs at a time, and nothing interrupts it between two batches, so the global
state of libraries is the same as in a separate run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from greenlet import getcurrent, greenlet

T = TypeVar("T")
Position = tuple[int, ...]
START: Position = ()
"""Position of a lane that has not begun; it sorts before every other position."""


class Stopped(BaseException):
    """Result of a lane that was stopped because of another, or that did not begin for lack of room."""


@dataclass
class _Lane(Generic[T]):
    name: str
    stack: Any = field(repr=False)
    position: Position = START
    waits: int = 0
    result: T | None = None
    error: BaseException | None = None

    def outcome(self) -> Any:
        return self.error if self.error is not None else self.result


class Turns(Generic[T]):
    """Runs bodies side by side; the one that is furthest behind runs first.

    Lanes that need the same batch therefore request it one after the other, and lanes that were resumed at
    different iterations catch up with each other.
    """

    def __init__(self) -> None:
        self._lanes: list[_Lane[T]] = []
        self._current: _Lane[T] | None = None
        self._hub: Any = None

    def run(
        self,
        bodies: Mapping[str, Callable[[], T]],
        stop_on: tuple[type[BaseException], ...] = (),
        room: Callable[[], int] | None = None,
    ) -> dict[str, T | BaseException]:
        """Run every body to its end.

        Args:
            bodies: Name of a lane -> function to run.
            stop_on: Exceptions that stop all lanes; any other exception only ends the lane that raises it.
            room: Function that returns how many more lanes there is room for, called when the first lane has
                processed its first batch. The remaining lanes do not begin.

        Returns:
            Name -> return value or exception of its body.
        """
        self._hub = getcurrent()
        self._lanes = [_Lane(name, greenlet(self._guarded(body))) for name, body in bodies.items()]
        if room is not None and len(self._lanes) > 1:
            self._begin_with(self._lanes[0], room, stop_on)
        while alive := self._alive():
            lane = min(alive, key=lambda lane: lane.position)
            self._step(lane, stop_on)
        return {lane.name: lane.outcome() for lane in self._lanes}

    def wait(self, *position: int) -> None:
        """Let the lanes that are behind this position run first; called from within a body."""
        lane = self._running()
        lane.position = position
        lane.waits += 1
        self._hub.switch()

    @property
    def position(self) -> Position:
        """Position at which the running lane last waited."""
        return self._running().position

    def _running(self) -> _Lane[T]:
        assert self._current is not None, "no lane is running"
        return self._current

    def _alive(self) -> list[_Lane[T]]:
        return [lane for lane in self._lanes if not lane.stack.dead]

    def _step(self, lane: _Lane[T], stop_on: tuple[type[BaseException], ...]) -> None:
        self._switch(lane)
        if isinstance(lane.error, stop_on):
            self._stop(self._alive())

    def _begin_with(
        self, first: _Lane[T], room: Callable[[], int], stop_on: tuple[type[BaseException], ...]
    ) -> None:
        """Let the first lane finish a step, then stop the lanes for which there is no room before they begin."""
        while not first.stack.dead and first.waits < 2:
            self._step(first, stop_on)
        if not first.stack.dead:
            self._stop(self._lanes[1 + max(0, room()) :])

    def _guarded(self, body: Callable[[], T]) -> Callable[[], None]:
        def run() -> None:
            lane = self._running()
            try:
                lane.result = body()
            except BaseException as error:
                lane.error = error

        return run

    def _switch(self, lane: _Lane[T], *thrown: type[BaseException]) -> None:
        self._current = lane
        try:
            lane.stack.throw(*thrown) if thrown else lane.stack.switch()
        finally:
            self._current = None

    def _stop(self, lanes: list[_Lane[T]]) -> None:
        for lane in lanes:
            if lane.position == START:
                lane.stack = _Ended()
            else:
                self._switch(lane, Stopped)
            lane.error = Stopped()


class _Ended:
    """Placeholder for the stack of a lane that never began."""

    dead = True
