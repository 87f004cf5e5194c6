"""The proxy's backends by name. They are kept in memory only, so a restarted proxy knows none."""

from dataclasses import asdict, dataclass

from orchestrator.lab.edge.minecraft import Handshake
from orchestrator.lab.history import History


@dataclass(frozen=True)
class Backend:
    """Where the connections for `name` lead."""

    name: str
    address: str
    port: int


class NameTakenError(Exception):
    """The name is registered with another address."""

    def __init__(self, known: Backend) -> None:
        super().__init__(f"{known.name} is already registered with {known.address}:{known.port}")


class Registrations:
    """The registered backends, by their names in lower case."""

    def __init__(self, history: History | None = None) -> None:
        self._backends: dict[str, Backend] = {}
        self._history = history or History()

    def register(self, name: str, address: str, port: int) -> Backend:
        """Register a backend. The same name with the same address changes nothing.

        Raises NameTakenError when the name has another address."""
        backend = Backend(name.lower(), address, port)
        known = self._backends.get(backend.name)
        if known is None:
            self._backends[backend.name] = backend
            self._history.add("proxy", action="register", **asdict(backend))
        elif known != backend:
            raise NameTakenError(known)
        return backend

    def unregister(self, name: str) -> bool:
        """Forget a name; returns whether it was registered."""
        backend = self._backends.pop(name.lower(), None)
        if backend is not None:
            self._history.add("proxy", action="unregister", **asdict(backend))
        return backend is not None

    def find(self, handshake: Handshake) -> Backend | None:
        return self._backends.get(handshake.label)

    def all(self) -> list[Backend]:
        return list(self._backends.values())

    def forget(self) -> None:
        self._history.add("proxy", action="restart")
        self._backends.clear()
