"""A service of the lab that was away comes back."""

import asyncio
import socket

import pytest
from aiohttp import web

from orchestrator.lab.servers.http import HttpService
from tests.support.loop_thread import PATIENCE


def test_comes_back_when_its_address_is_free_again(caplog: pytest.LogCaptureFixture) -> None:
    async def occupy_and_leave() -> None:
        service = HttpService(web.Application, "127.0.0.1", 0)
        await service.start()
        await service.go_away(0)
        with socket.create_server((service.address, service.port)):
            while "a service is still away" not in caplog.text:  # noqa: ASYNC110 - a log line sets no event
                await asyncio.sleep(0.01)
        while True:
            try:
                _, writer = await asyncio.open_connection(service.address, service.port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                break
        await service.close()

    asyncio.run(asyncio.wait_for(occupy_and_leave(), PATIENCE))
