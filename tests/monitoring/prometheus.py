"""A real Prometheus with the configuration that is shipped, but for its targets and its pace; and vLLM's metrics beside ours."""

import json
import math
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from tests.serving import eventually, free_port

SHIPPED = Path(__file__).parents[2] / "deploy/monitoring"
RECORDED = Path(__file__).with_name("recorded") / "vllm.txt"
PACE = "250ms"
STEP = 0.25  # seconds
START = 30.0

Series = Mapping[tuple[tuple[str, str], ...], Sequence[float]]  # finite values, by labels


class Prometheus:
    """Started by `with`; `targets` are HOST:PORT by the job's name."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]]) -> None:
        self._url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._config = folder / "prometheus.yml"
        folder.mkdir(parents=True)
        shipped = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
        shipped["global"] = {"scrape_interval": PACE, "evaluation_interval": PACE}
        shipped["rule_files"] = [str(SHIPPED / files) for files in shipped["rule_files"]]
        for job in shipped["scrape_configs"]:
            job["static_configs"] = [{"targets": list(targets[job["job_name"]])}]
        self._config.write_text(yaml.safe_dump(shipped))

    def __enter__(self) -> Self:
        command = ["prometheus", f"--config.file={self._config}", f"--storage.tsdb.path={self._folder / 'data'}", "--log.level=warn"]
        self._log = (self._folder / "log").open("wb")
        self._process = subprocess.Popen(
            [*command, f"--web.listen-address={self._url.removeprefix('http://')}"], stdout=self._log, stderr=self._log
        )
        try:
            eventually(self._ready, START, "Prometheus ready")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait(10)
        self._log.close()

    def sees(self, number: int) -> None:
        """Waits until so many targets have been scraped; Prometheus takes five seconds to find the first."""
        eventually(lambda: len(self._ask("query", query="up == 1")["result"]) == number, START, f"{number} targets scraped")

    def values(self, expr: str, start: float, end: float) -> Series:
        """As a panel asks: each series' finite values from `start` to `end` (seconds since the epoch)."""
        found = self._ask("query_range", query=expr, start=start, end=end, step=STEP)["result"]
        series = {
            tuple(sorted(one["metric"].items())): [value for _, text in one["values"] if math.isfinite(value := float(text))]
            for one in found
        }
        return {labels: values for labels, values in series.items() if values}

    def _ask(self, what: str, **fields: Any) -> Any:
        data = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{what}", data, timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fields}: {json.load(error)['error']}") from None

    def _ready(self) -> bool:
        assert self._process.poll() is None, (self._folder / "log").read_text()
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False


class Vllm:
    """Serves what a real vLLM said once: counters grow by what was recorded with each scrape, gauges come and go."""

    def __enter__(self) -> Self:
        recorded = [line.rsplit(" ", 1) for line in RECORDED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        scrapes = 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nonlocal scrapes
                scrapes += 1
                gauges = "vllm:num_requests", "vllm:kv_cache"
                lines = [f"{name} {scrapes % 2 if name.startswith(gauges) else float(value) * scrapes}" for name, value in recorded]
                body = "\n".join([*lines, ""]).encode()
                self.send_response(200)
                self.send_header("content-type", "text/plain; version=0.0.4")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
