"""Which of our languages a browser asks for."""

from __future__ import annotations

from dure.errors import LANGUAGES

_READ = 20


def accepted(header: str) -> str | None:
    """The best of our languages in an Accept-Language header; none if it names none of them."""
    best: tuple[float, str] | None = None
    for part in header.split(",")[:_READ]:
        tag, *parameters = (piece.strip().lower() for piece in part.split(";"))
        name, weight = tag.split("-")[0], _weight(parameters)
        if name in LANGUAGES and weight > 0 and (best is None or weight > best[0]):
            best = (weight, name)
    return best[1] if best else None


def _weight(parameters: list[str]) -> float:
    """The `q` of one entry; 0, which is never chosen, where it is no number from 0 to 1."""
    for parameter in parameters:
        name, _, text = parameter.partition("=")
        if name.strip() == "q":
            try:
                weight = float(text)
            except ValueError:
                return 0.0
            return weight if 0 <= weight <= 1 else 0.0
    return 1.0
