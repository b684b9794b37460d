"""Two sessions ask for one resource: the policy decides, and never leaves both (RFC 6120, section 7.7.2.2)."""

import asyncio

from scenario import check, main
from slix import Client


async def scenario(options):
    old = await Client(options, 0, "garden").login()
    ended = []
    old.add_event_handler("stream_error", lambda e: ended.append(e["condition"]))
    gone = asyncio.ensure_future(old.wait_until("disconnected", 10))
    new = Client(options, 0, "garden")
    await new.login()
    resource = new.boundjid.resource
    if resource == "garden":
        await gone
        check(ended == ["conflict"], "the older session is told why", ended)
        policy = "the newer one replaces the older one"
    else:
        gone.cancel()
        await old.settled()
        policy = "the newer one gets another resource"
        await old.bye()
    await new.settled()
    empty = await Client(options, 0).login()
    check(empty.boundjid.resource, "without a wish, the server chooses", empty.boundjid)
    check(empty.boundjid.resource != resource, "and chooses a free one", empty.boundjid)
    await new.bye()
    await empty.bye()
    return {"policy": policy}


main(scenario, 1)
