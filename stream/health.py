"""``/metrics``, ``/livez`` and ``/readyz`` on one small server, on loopback unless said otherwise."""

from collections.abc import Callable

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

#: Gives what is missing for being ready or alive; empty if nothing is.
Problems = Callable[[], list[str]]


class HealthServer:
    """Answers Prometheus and the orchestrator."""

    def __init__(
        self, registry: CollectorRegistry, alive: Problems, ready: Problems, refresh: Callable[[], None]
    ) -> None:
        self._registry = registry
        self._alive = alive
        self._ready = ready
        self._refresh = refresh
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one, see ``port``."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        self._refresh()
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _livez(self, _: web.Request) -> web.Response:
        return _answer(self._alive())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._ready())


def _answer(problems: list[str]) -> web.Response:
    body = orjson.dumps({"ok": not problems, "problems": problems})
    return web.Response(body=body, status=503 if problems else 200, content_type="application/json")
