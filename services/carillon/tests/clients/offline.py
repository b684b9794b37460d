"""Messages to someone who is away wait for the next resource that comes online, once, in order, with the time."""

from datetime import datetime, timedelta, timezone
from xml.etree import ElementTree

from scenario import check, main
from slix import DELAY, Client, stanza_ids


def waiting(message):
    return message["body"].startswith("while you were away")


async def scenario(options):
    romeo = await Client(options, 0, "orchard").login()
    before = datetime.now(timezone.utc) - timedelta(seconds=2)
    for n in range(20):
        romeo.say(options.jid(1), f"while you were away {n}")
    if not options.lenient:
        hint = romeo.make_message(mto=options.jid(1), mtype="chat", mbody="while you were away, gone")
        hint.xml.append(ElementTree.Element("{urn:xmpp:hints}no-store"))
        hint.send()
    await romeo.settled()

    shy = await Client(options, 1, "shy").login(presence=False)
    shy.send_presence(ppriority=-1)
    await shy.settled()
    await shy.nothing(shy.inbox, waiting, "offline messages at a negative priority")
    await shy.bye()

    juliet = await Client(options, 1, "balcony").login()
    seen = []
    for n in range(20):
        got = await juliet.message(waiting, f"waiting message {n}")
        check(got["body"] == f"while you were away {n}", "in order, each once", got)
        delay = got.xml.find(DELAY)
        check(delay is not None, "a delay element", got)
        stamp = datetime.fromisoformat(delay.get("stamp").replace("Z", "+00:00"))
        check(before <= stamp <= datetime.now(timezone.utc), "the time of arrival", got)
        seen += stanza_ids(got, options.jid(1))
    check(len(set(seen)) == 20, "each with an id of her archive", seen)
    await juliet.settled()
    await juliet.nothing(juliet.inbox, waiting, "more than was sent")
    await juliet.bye()

    again = await Client(options, 1, "balcony").login()
    await again.settled()
    await again.nothing(again.inbox, waiting, "what an earlier session took")
    await again.bye()
    await romeo.bye()


main(scenario, 2)
