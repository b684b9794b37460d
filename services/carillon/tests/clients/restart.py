"""An orderly restart: streams end with `system-shutdown`, and the sessions resume with all that was under way: the counts,
the addresses, and their presence, of which nobody sees that it was away.
"""

import asyncio

from scenario import check, main
from wire import CLIENT, Closed, Wire


async def subscribe(romeo, juliet):
    """Each sees the other's presence."""
    for one, other in ((romeo, juliet), (juliet, romeo)):
        one.send("presence", f"<presence to='{other.bare}' type='subscribe'/>")
        await asyncio.sleep(0.2)
        other.send("presence", f"<presence to='{one.bare}' type='subscribed'/>")
    await asyncio.sleep(0.5)


async def scenario(options):
    romeo, juliet = Wire(options, *options.accounts[0]), Wire(options, *options.accounts[1])
    got, senders, seen, ends = [], set(), [], []

    def to_juliet(stanza):
        if stanza.tag == f"{CLIENT}message":
            got.append(stanza.get("id"))
            senders.add(stanza.get("from"))
        presence(stanza)

    def presence(stanza):
        if stanza.tag == f"{CLIENT}presence":
            seen.append((stanza.get("from"), stanza.get("type")))

    juliet.on_stanza, romeo.on_stanza = to_juliet, presence
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
    await subscribe(romeo, juliet)
    check((juliet.jid, None) in seen and (romeo.jid, None) in seen, "each sees the other", seen)
    for n in range(20):
        romeo.message(juliet.bare, f"m{n}", f"number {n}")
    juliet.cut()  # what comes for her waits through the restart
    for n in range(20, 40):
        romeo.message(juliet.bare, f"m{n}", f"number {n}")
    romeo.request_ack()
    await asyncio.sleep(0.5)
    check(romeo.acked == romeo.sent or options.lenient, "all is acknowledged", romeo.acked, romeo.sent)
    seen.clear()
    await options.server("term")
    check(options.lenient or any("system-shutdown" in e for e in ends), "the stream ends with system-shutdown", ends)
    romeo.cut()
    for wire in (juliet, romeo):
        before, sm_id = wire.acked, wire.sm_id
        await wire.connect()
        check(await wire.resume(), "the session is resumed after an orderly restart")
        check(before <= wire.acked == wire.sent, "h counts what was counted before", before, wire.acked, wire.sent)
        check(wire.sm_id == sm_id, "it keeps its id")
    romeo.message(juliet.jid, "m40", "number 40")
    for _ in range(100):
        if len(got) >= 41:
            break
        await asyncio.sleep(0.1)
    check(got == [f"m{n}" for n in range(41)], "each once, in order", got)
    check(senders == {romeo.jid}, "from the same address as before", senders)
    answer = await juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    check(answer.get("to") in (None, juliet.jid), "to the same address as before", answer.attrib)
    check(not seen, "nobody's presence was seen to go or to come", seen)
    for wire in (romeo, juliet):
        await wire.close()


main(scenario, 2)
