"""The service: a model behind HTTP, described by its own OpenAPI."""

import contextlib
import html
import json
from collections.abc import AsyncIterator, Sequence
from importlib import metadata, resources
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from tinyrm.errors import DataError
from tinyrm.serving.batcher import Batcher, QueueFullError, StoppingError
from tinyrm.serving.columns import comparison_values, ranking_values
from tinyrm.serving.group import ranking_task
from tinyrm.serving.guard import Guard
from tinyrm.serving.metrics import Metrics
from tinyrm.serving.model import Comparison, RewardModel
from tinyrm.serving.ranking import Ranking
from tinyrm.serving.schemas import Problem, Ranked, Rewards, Verdict, Verdicts, requests
from tinyrm.serving.settings import Settings
from tinyrm.serving.texts import pair_of

_PATHS = frozenset(
    {
        "/",
        "/docs",
        "/page.js",
        "/page.css",
        "/docs.js",
        "/openapi.json",
        "/healthz",
        "/metrics",
        "/v1/compare",
        "/v1/rank",
        "/v1/reward",
    }
)
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "not JSON"},
    401: {"model": Problem, "description": "no API key, where there is one"},
    413: {"model": Problem, "description": "request too large"},
    422: {"model": Problem, "description": "JSON of another form"},
    429: {"model": Problem, "description": "too many pairs are waiting: come again"},
    503: {"model": Problem, "description": "took too long, or is stopping"},
}


def create_app(model: RewardModel, settings: Settings | None = None, *, key: str | None = None) -> Guard:
    """An ASGI application that answers with `model`.

    Args:
        model: what judges; its `truncation` is best 'ignore': every answer says so for itself.
        settings: limits.
        key: needed as `Authorization: Bearer KEY` for /v1 and /metrics; None needs none.
    """
    limits = settings or Settings()
    metrics = Metrics(lambda: batcher.waiting)
    batcher = Batcher(model.compare_pairs, limits, metrics.batch.observe)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()

    version = metadata.version("tinyrm")
    app = FastAPI(title="TinyRM", version=version, lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_pages(app, model, batcher, metrics)
    _add_answers(app, model, batcher, metrics, limits)
    _add_errors(app)
    return Guard(app, limits, metrics, key, _PATHS)


def _add_answers(app: FastAPI, model: RewardModel, batcher: Batcher, metrics: Metrics, limits: Settings) -> None:
    CompareRequest, GroupRequest = requests(limits)  # noqa: N806 (classes)

    async def ranked(body: Any) -> Ranking:
        told = body.model_dump()
        task = ranking_task(told["prompt"], told["responses"], told["method"], sees_both=model.sees_both)
        try:
            asked = next(task)
            while True:
                asked = task.send(await batcher.submit(asked))
        except StopIteration as end:
            found: Ranking = end.value
            metrics.truncated.inc(found.truncated)
            return found

    @app.post("/v1/compare", response_model=Verdicts, responses=_ERRORS)
    async def compare(body: CompareRequest) -> Any:  # type: ignore[valid-type]
        """Which of two responses is better, for each of some pairs."""
        pairs = [pair_of(p["prompt"], p["a"], p["b"]) for p in body.model_dump()["pairs"]]  # type: ignore[attr-defined]
        found = await batcher.submit(pairs)
        metrics.truncated.inc(sum(one.truncated for one in found))
        return Verdicts(model=model.name, results=[_verdict(one) for one in found])

    @app.post("/v1/rank", response_model=Ranked, responses=_ERRORS)
    async def rank(body: GroupRequest) -> Any:  # type: ignore[valid-type]
        """Order the responses to one prompt."""
        return Ranked(model=model.name, **ranking_values(await ranked(body)))

    @app.post("/v1/reward", response_model=Rewards, responses=_ERRORS)
    async def reward(body: GroupRequest) -> Any:  # type: ignore[valid-type]
        """A scalar for each response of a group."""
        found = await ranked(body)
        return Rewards(model=model.name, rewards=list(found.strengths), truncated=found.truncated)


def _verdict(one: Comparison) -> Verdict:
    more: dict[str, Any] = {"a_first": one.a_first, "a_second": one.a_second, "cut_tokens": list(one.cut_tokens)}
    return Verdict(**comparison_values(one), **more)


def _add_pages(app: FastAPI, model: RewardModel, batcher: Batcher, metrics: Metrics) -> None:
    page, docs, script = (_read(name) for name in ("page.html", "docs.html", "page.js"))
    style, docs_script = _read("page.css"), _read("docs.js")
    page = page.replace("{{model}}", html.escape(model.name))

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(page)

    @app.get("/docs", include_in_schema=False)
    async def openapi_page() -> Response:
        return HTMLResponse(docs)

    for path, text, kind in (
        ("/page.js", script, "text/javascript"),
        ("/docs.js", docs_script, "text/javascript"),
        ("/page.css", style, "text/css"),
    ):
        app.add_api_route(path, _file(text, kind), include_in_schema=False)

    @app.get("/healthz", response_model=dict[str, str])
    async def healthz() -> Any:
        """It answers, and with which model."""
        return {"status": "ok", "model": model.name, "backend": model.backend.name, "device": model.backend.device}

    @app.get("/metrics", response_class=PlainTextResponse, responses={401: {"model": Problem}})
    async def prometheus() -> Response:
        """Counters in Prometheus' text format."""
        return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _file(text: str, kind: str) -> Any:
    async def answer() -> Response:
        return Response(text, media_type=kind)

    return answer


def _read(name: str) -> str:
    return (resources.files("tinyrm.serving") / "static" / name).read_text(encoding="utf-8")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        # Without the text itself: it may be large, or nothing that JSON could carry back.
        told = [f"{_place(one['loc'])}: {one['msg']}" for one in error.errors()[:5]]
        status = 400 if any(one["type"] == "json_invalid" for one in error.errors()) else 422
        return _problem(status, "; ".join(told))

    @app.exception_handler(DataError)
    async def bad(_request: Request, error: DataError) -> Response:
        return _problem(422, str(error))

    @app.exception_handler(QueueFullError)
    async def full(_request: Request, error: QueueFullError) -> Response:
        return _problem(429, str(error), {"retry-after": "1"})

    @app.exception_handler(StoppingError)
    async def stopping(_request: Request, error: StoppingError) -> Response:
        return _problem(503, str(error), {"retry-after": "1"})


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(json.loads(json.dumps({"detail": detail.encode("utf-8", "replace").decode()})), status, headers)


def _place(where: Sequence[Any]) -> str:
    return ".".join(str(part) for part in where)
