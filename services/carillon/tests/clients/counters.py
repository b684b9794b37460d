"""The numbers of stream management, exactly: `h` both ways, resumption in the middle, an id that is unknown."""

import asyncio

from scenario import check, main
from wire import CLIENT, SM, SM_NS, Wire


async def acked(wire, want):
    """Asks until the count has grown to what is wanted."""
    for _ in range(50):
        wire.request_ack()
        await asyncio.sleep(0.1)
        if wire.acked == want:
            return
    check(False, f"h stays at {wire.acked}, and {want} were sent")


async def scenario(options):
    romeo, juliet = Wire(options, *options.accounts[0]), Wire(options, *options.accounts[1])
    got = []
    juliet.on_stanza = lambda s: s.tag == f"{CLIENT}message" and got.append(s.get("id"))
    for wire, direct in ((romeo, False), (juliet, True)):
        await wire.connect(direct)
        check(wire.features.find(f"{SM}sm") is not None, "stream management is announced")
        await wire.bind("wire")
        wire.presence()
        await acked(wire, 1)
    for n in range(50):
        romeo.message(juliet.bare, f"m{n}", f"number {n}")
    await acked(romeo, 51)

    juliet.cut()
    for n in range(50, 60):
        romeo.message(juliet.bare, f"m{n}", f"number {n}")
    await acked(romeo, 61)
    for _ in range(2):  # the second time, what was sent again is acknowledged already
        await juliet.connect()
        check(await juliet.resume(), "resumed")
        await until(lambda: len(got) >= 60, "what came meanwhile")
        check(got == [f"m{n}" for n in range(60)], "each once, in order", got)
        juliet.cut()

    # Sent, and the socket cut before any acknowledgement: resumption says how much arrived.
    for n in range(60, 80):
        romeo.message(juliet.bare, f"m{n}", f"number {n}")
    await romeo.writer.drain()
    romeo.cut()
    await romeo.connect(True)
    check(await romeo.resume(), "resumed")
    await acked(romeo, 81)
    await juliet.connect()
    check(await juliet.resume(), "resumed")
    await until(lambda: len(got) >= 80, "what was sent before the cut")
    check(got == [f"m{n}" for n in range(80)], "each once, in order", got)

    # The newer connection wins while the older one still stands.
    older = romeo.reader
    romeo._pump.cancel()
    await romeo.connect()
    check(await romeo.resume(), "resumed under a standing connection")
    async with asyncio.timeout(10):
        while await older.read(65536):
            pass
    romeo.message(juliet.bare, "m80", "number 80")
    await acked(romeo, 82)

    stranger = Wire(options, *options.accounts[0])
    await stranger.connect()
    stranger.write(f"<resume xmlns='{SM_NS}' h='0' previd='nobody'/>")
    await stranger.expect(f"{SM}failed")
    await stranger.bind("stranger")
    thief = Wire(options, *options.accounts[1])
    await thief.connect()
    thief.sm_id = romeo.sm_id
    check(not await thief.resume(), "another account cannot resume a session")
    thief.cut()
    for wire in (romeo, juliet, stranger):
        await wire.close()
    return {"messages": len(got)}


async def until(holds, what):
    for _ in range(100):
        if holds():
            return
        await asyncio.sleep(0.05)
    check(False, f"waited in vain for {what}")


main(scenario, 2)
