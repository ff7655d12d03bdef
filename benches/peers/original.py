"""The design that this service replaces, written anew as a baseline: aiohttp, a session and a task per provider for
every request, all of them gathered. Its ways are kept on purpose, the slow ones too.

    python3 original.py PORT URL…
"""

import asyncio
import sys
import time

import aiohttp
from aiohttp import web

URLS = {f"p{number}": url for number, url in enumerate(sys.argv[2:])}


async def ask(session, name, url):
    begun = time.perf_counter()
    try:
        async with session.get(url) as response:
            response.raise_for_status()
            data = await response.json()
        return name, {"ok": True, "data": data, "ms": (time.perf_counter() - begun) * 1000}
    except Exception as error:  # any failure is told in the answer
        return name, {"ok": False, "error": str(error), "ms": (time.perf_counter() - begun) * 1000}


async def resumen(request):
    limit = float(request.query.get("timeout", 4))
    timeout = aiohttp.ClientTimeout(total=limit)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        tasks = [asyncio.create_task(ask(session, name, url)) for name, url in URLS.items()]
        results = await asyncio.gather(*tasks)
    return web.json_response({
        "origen": "aiohttp",
        "timeout_s": limit,
        "asincronia": "Un solo hilo atiende muchas esperas a la vez.",
        "multithreading": "Para esperar a la red, más hilos solo cuestan memoria.",
        "resultados": dict(results),
    })


async def salud(_request):
    return web.json_response({"status": "ok"})


app = web.Application()
app.add_routes([web.get("/resumen", resumen), web.get("/salud", salud)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
