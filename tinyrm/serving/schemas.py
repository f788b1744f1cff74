"""Requests and answers of the service, as its OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from tinyrm.serving.settings import Settings


class Strict(BaseModel):
    """No unknown keys: a misspelt one is told."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Verdict(BaseModel):
    """Which of two responses is better; log-odds are natural, above 0 for a."""

    log_odds: float = Field(description="mean over both orders of presentation")
    probability: float = Field(description="that a is better")
    better: Literal["a", "b", "tie"]
    order_consistent: bool = Field(description="both orders come to the same verdict")
    a_first: float = Field(description="log-odds with a shown first")
    a_second: float = Field(description="log-odds with a shown second")
    truncated: bool
    cut_tokens: list[int] = Field(description="tokens of prompt, a and b that did not fit")


class Verdicts(BaseModel):
    """One verdict a pair, in the order asked."""

    model: str
    results: list[Verdict]


class Ranked(BaseModel):
    """Responses from best to worst; strengths are log-odds, mean 0, in the order given."""

    model: str
    order: list[int]
    best: int
    strengths: list[float]
    low: list[float | None] = Field(description="95% interval of each strength; null where nothing could disagree")
    high: list[float | None]
    comparisons: int
    inconsistent: int = Field(description="comparisons that flip with the order")
    truncated: bool


class Rewards(BaseModel):
    """A scalar a response, comparable within the group alone."""

    model: str
    rewards: list[float]
    truncated: bool


class Problem(BaseModel):
    """What is wrong, and what would be right."""

    detail: str


def requests(limits: Settings) -> tuple[type[Any], type[Any]]:
    """The bodies of /v1/compare, and of /v1/rank and /v1/reward, with these limits."""
    text = Annotated[str, Field(max_length=limits.max_text_chars)]
    message = create_model(
        "Message", __base__=Strict, role=(Annotated[str, Field(max_length=64)], ...), content=(text, ...)
    )
    turns = Annotated[list[message], Field(min_length=1, max_length=256)]  # type: ignore[valid-type]
    said = text | turns
    pair = create_model("Pair", __base__=Strict, prompt=(said, ...), a=(said, ...), b=(said, ...))
    pairs = Annotated[list[pair], Field(min_length=1, max_length=limits.max_pairs)]  # type: ignore[valid-type]
    responses = Annotated[list[said], Field(min_length=1, max_length=limits.max_responses)]
    method = Literal["auto", "all", "tournament"]
    return (
        create_model("CompareRequest", __base__=Strict, pairs=(pairs, ...)),
        create_model(
            "GroupRequest", __base__=Strict, prompt=(said, ...), responses=(responses, ...), method=(method, "auto")
        ),
    )
