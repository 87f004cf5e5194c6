"""The errors of the lab.

Exception
├── LabError     the lab cannot run; its text is the one sentence shown to the person who started it
└── InputError   a request or a value is wrong; it names the field
"""


class LabError(Exception):
    """The lab cannot start or go on."""


class InputError(Exception):
    """A value is refused; `field` names where it stands."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
