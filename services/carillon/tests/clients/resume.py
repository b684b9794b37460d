"""slixmpp resumes after a cut socket (XEP-0198): nothing lost, nothing doubled, no presence seen to go."""

import asyncio

from scenario import check, main
from slix import Client


async def scenario(options):
    romeo = await Client(options, 0, "orchard", plugins=["xep_0198"]).login()
    juliet = await Client(options, 1, "balcony", plugins=["xep_0198"]).login()
    check(romeo.plugin["xep_0198"].sm_id, "stream management with resumption")
    acked = []
    romeo.add_event_handler("stanza_acked", lambda s: acked.append(s["id"]))

    ids = [romeo.say(options.jid(1), f"before {n}") for n in range(10)]
    for n in range(10):
        await juliet.body(f"before {n}")
    romeo.plugin["xep_0198"].request_ack()
    await eventually(lambda: set(ids) <= set(acked), "all that was sent is acknowledged", acked)

    for cut in range(3):
        gone = asyncio.ensure_future(romeo.wait_until("disconnected", 10))
        romeo.cut()
        await gone
        lost = [juliet.say(options.jid(0), f"meanwhile {cut} {n}") for n in range(10)]
        lost.append(juliet.say(romeo.boundjid.full, f"meanwhile {cut} full"))
        await juliet.settled()
        bound = romeo.boundjid.full
        event, _ = await romeo.connected("session_resumed", "session_start", "failed_all_auth")
        check(event == "session_resumed", "the session is resumed", event)
        check(romeo.boundjid.full == bound, "it keeps its address", romeo.boundjid)
        for n in [*range(10), "full"]:
            got = await romeo.body(f"meanwhile {cut} {n}")
            check(got["from"] == juliet.boundjid, "from her", got)
        romeo.say(options.jid(1), f"after {cut}")
        await juliet.body(f"after {cut}")
    for client in (romeo, juliet):
        await client.settled()
    wanted = lambda m: m["body"]
    await romeo.nothing(romeo.inbox, wanted, "a message twice")
    await juliet.nothing(juliet.inbox, wanted, "a message twice")
    await juliet.nothing(juliet.inbox, lambda m: m["type"] == "error", "an error for a delivered one")
    await romeo.bye()
    await juliet.bye()


async def eventually(holds, what, *seen):
    for _ in range(100):
        if holds():
            return
        await asyncio.sleep(0.1)
    check(False, what, *seen)


main(scenario, 2)
