"""The design that this service replaces, reimplemented as a baseline: aiohttp, a new session per request, one task per
provider, all gathered. Its inefficiencies are kept on purpose.

    python3 original.py PORT URL…
"""

import asyncio
import sys
import time

import aiohttp
from aiohttp import web

URLS = {f"p{number}": url for number, url in enumerate(sys.argv[2:])}


async def fetch(session, name, url):
    started = time.perf_counter()
    try:
        async with session.get(url) as response:
            response.raise_for_status()
            data = await response.json()
        return name, {"ok": True, "data": data, "ms": (time.perf_counter() - started) * 1000}
    except Exception as error:  # the response contains any error
        return name, {"ok": False, "error": str(error), "ms": (time.perf_counter() - started) * 1000}


async def resumen(request):
    limit = float(request.query.get("timeout", 4))
    timeout = aiohttp.ClientTimeout(total=limit)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        tasks = [asyncio.create_task(fetch(session, name, url)) for name, url in URLS.items()]
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
