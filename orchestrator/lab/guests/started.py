"""The started guests of a driver: each is watched by a task of its own, and ended once."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterator
from typing import Any, Generic, Protocol, TypeVar


class Started(Protocol):
    """A guest with the task that ends it, once that is under way."""

    vmid: int
    ending: asyncio.Task[None] | None

    @property
    def alive(self) -> bool: ...


G = TypeVar("G", bound=Started)


class StartedGuests(ABC, Generic[G]):
    """What the drivers do alike with the guests that they have started."""

    def __init__(self) -> None:
        self._guests: dict[int, G] = {}
        self._watches: set[asyncio.Task[None]] = set()

    def find(self, vmid: int) -> G | None:
        return self._guests.get(vmid)

    def all(self) -> Iterator[G]:
        return (guest for guest in list(self._guests.values()) if guest.alive)

    async def stop(self, vmid: int) -> None:
        guest = self._guests.get(vmid)
        if guest is None:
            return
        if guest.ending is None:
            guest.ending = asyncio.create_task(self._end(guest))
        await asyncio.shield(guest.ending)

    async def _stop_all(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*(self.stop(vmid) for vmid in list(self._guests)))

    @abstractmethod
    async def _end(self, guest: G) -> None:
        """End a guest with everything in it, and drop it."""

    def _watch_in_background(self, watching: Coroutine[Any, Any, None]) -> None:
        watch = asyncio.create_task(watching)
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    def _is_over(self, guest: G) -> bool:
        """Whether its container was stopped, or has been started anew since."""
        return guest.ending is not None or self._guests.get(guest.vmid) is not guest

    def _drop(self, guest: G) -> None:
        """Forget a guest that has ended, unless another one took its place."""
        if self._guests.get(guest.vmid) is guest:
            del self._guests[guest.vmid]
