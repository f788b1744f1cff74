"""A server that takes what the `wandb` client sends: the few questions it asks about a run, and its stream of rows.

It shows that what we track arrives whole and once. It is no W&B: what the service would say to it is not shown.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Run:
    """What was sent of one run."""

    fields: dict[str, Any] = field(default_factory=dict)  # of its first question: group, job type, name, ...
    history: list[str] = field(default_factory=list)  # one JSON object a row
    summary: str = "{}"
    exit_code: int | None = None
    begun: int = 0  # how often an attempt of it was

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The rows that have a key."""
        return [row for row in map(json.loads, self.history) if key in row]


class Server:
    """Runs by their id.

    Attributes:
        deaf: answers questions, and 503 to every row.
        streamed: how often rows were taken.
    """

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.deaf, self.streamed, self.url = False, 0, ""

    def answer(self, question: str, given: dict[str, Any]) -> dict[str, Any]:
        """To a question of GraphQL, by its name."""
        name = given.get("name") or given.get("run") or ""
        project = {"id": "P", "name": "p", "entity": {"id": "E", "name": "e"}}
        if question == "Viewer":
            return {"viewer": {"id": "U", "entity": "e", "username": "e", "flags": "{}", "teams": {"edges": []}}}
        if question == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if question == "RunResumeStatus":
            return {"model": {**project, "bucket": self._bucket(name) if name in self.runs else None}}
        if question == "UpsertBucket":
            run, inserted = self.runs.setdefault(name, Run()), name not in self.runs
            run.begun += given.get("summaryMetrics") is None
            run.fields |= {key: value for key, value in given.items() if value is not None}
            return {"upsertBucket": {"bucket": {**self._bucket(name), "project": project}, "inserted": inserted}}
        if question == "CreateRunFiles":
            files = [{"name": f, "uploadUrl": f"{self.url}/upload/{f}"} for f in given["files"]]
            return {"createRunFiles": {"runID": name, "uploadHeaders": [], "files": files}}
        return {}

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        """Rows and summary of a run, each from the line that it says."""
        self.streamed += 1
        run = self.runs[name]
        for file, part in (sent.get("files") or {}).items():
            if file == "wandb-history.jsonl":
                run.history[part["offset"] :] = part["content"]
            elif file == "wandb-summary.json":
                run.summary = part["content"][-1]
        if sent.get("complete"):
            run.exit_code = sent.get("exitcode")

    def _bucket(self, name: str) -> dict[str, Any]:
        run = self.runs[name]
        tail = json.dumps(run.history[-1:])
        counts = {"historyLineCount": len(run.history), "eventsLineCount": 0, "logLineCount": 0}
        own = {"id": name, "name": name, "displayName": name, "config": "{}", "summaryMetrics": run.summary}
        return {**own, **counts, "historyTail": tail, "eventsTail": "[]", "tags": [], "wandbConfig": '{"t": 1}'}


@contextmanager
def serving() -> Iterator[Server]:
    """On loopback, in a thread."""
    server = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.path.endswith("/file_stream"):
                if server.deaf:
                    return self._say(503, {})
                server.stream(self.path.split("/")[-2], json.loads(content))
                return self._say(200, {})
            asked = json.loads(content)
            found = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
            return self._say(200, {"data": server.answer(found[1] if found else "", asked.get("variables") or {})})

        def do_GET(self) -> None:
            self._say(200, {})

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))  # what a file holds is not looked at
            self._say(200, {})

        def _say(self, code: int, answer: dict[str, Any]) -> None:
            body = json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_address[1]}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
