"""An orderly restart: streams end with `system-shutdown`, and the sessions resume with all that was under way."""

import asyncio

from scenario import check, main
from wire import CLIENT, Closed, Wire


async def scenario(options):
    romeo, juliet = Wire(options, *options.accounts[0]), Wire(options, *options.accounts[1])
    got, ends = [], []
    juliet.on_stanza = lambda s: s.tag == f"{CLIENT}message" and got.append(s.get("id"))
    for wire in (romeo, juliet):
        read = wire.read

        async def noting(read=read):
            try:
                return await read()
            except Closed as closed:
                ends.append(str(closed))
                raise
        wire.read = noting
        await wire.connect()
        await wire.bind("wire")
        wire.presence()
    for n in range(20):
        romeo.message(juliet.bare, f"m{n}", f"number {n}")
    juliet.cut()  # what comes for her waits through the restart
    for n in range(20, 40):
        romeo.message(juliet.bare, f"m{n}", f"number {n}")
    romeo.request_ack()
    await asyncio.sleep(0.5)
    await options.server("term")
    check(options.lenient or any("system-shutdown" in e for e in ends), "the stream ends with system-shutdown", ends)
    romeo.cut()
    for wire in (juliet, romeo):
        await wire.connect()
        check(await wire.resume(), "the session is resumed after an orderly restart")
    romeo.message(juliet.bare, "m40", "number 40")
    for _ in range(100):
        if len(got) >= 41:
            break
        await asyncio.sleep(0.1)
    check(got == [f"m{n}" for n in range(41)], "each once, in order", got)
    for wire in (romeo, juliet):
        await wire.close()


main(scenario, 2)
