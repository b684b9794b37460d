"""Two slixmpp clients under load, the server killed -9: nothing acknowledged is lost or doubled.

The same ledger and oracle as in `loss.py`, and the library's own stream management. It keeps what is not acknowledged
over a resumption and forgets it when one is refused, so then the client does what is left to it: it takes what the `h` of
`<failed/>` covers as acknowledged, reads its archive, and sends the rest again with the same ids.
"""

import asyncio
import random

from ledger import Ledger, judge
from scenario import check, main
from slix import Client
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

PLUGINS = ["xep_0198", "xep_0313"]
UNACKED_MAX = 50
ENDS = ("session_start", "session_resumed", "disconnected", "failed_all_auth")


class Peer:
    """One client with its ledger."""

    def __init__(self, options, index):
        self.options = options
        self.ledger = Ledger(options, index)
        self.client = Client(options, index, "loss", plugins=PLUGINS)
        self.sm = self.client.plugin["xep_0198"]
        self.waiting = {}  # id → body of what is not acknowledged
        self.kept = []  # what the library had not seen acknowledged when the socket went
        self.fault = None
        self.online, self.lost = asyncio.Event(), asyncio.Event()
        self.sending = True
        self.stats = dict.fromkeys(("resumed", "failed", "bound", "resent"), 0)
        self.client.add_event_handler("stanza_acked", lambda stanza: self.acknowledged(stanza["id"]))
        self.client.add_event_handler("sm_failed", self.refused)
        self.client.add_event_handler("disconnected", self.gone)
        self.client.register_handler(
            Callback("ledger", MatchXPath("{jabber:client}message"), self.received))

    def acknowledged(self, ident):
        if self.waiting.pop(ident, None):
            self.ledger.acked.add(ident)

    def received(self, message):
        try:
            self.ledger.received(message.xml)
        except Exception as fault:  # the library would log it and go on
            self.fault = self.fault or fault

    def gone(self, _):
        self.kept = list(self.sm.unacked_queue)
        self.online.clear()
        self.lost.set()

    def refused(self, failed):
        self.stats["failed"] += 1
        handled = failed.xml.get("h")
        check(handled is not None, f"{self.ledger.name}: <failed/> without h")
        for number, stanza in self.kept:
            if number <= int(handled):
                self.acknowledged(stanza["id"])

    async def live(self):
        """Connects for ever, with whatever the server allows."""
        while True:
            try:
                event, value = await self.client.connected(*ENDS, timeout=5)
                check(event != "failed_all_auth", f"{self.ledger.name} could not log in", value)
                if event == "disconnected":
                    continue
                self.lost.clear()
                await self.session(event)
                await self.lost.wait()
            except (IqError, IqTimeout, asyncio.TimeoutError):
                self.client.cut()
            await asyncio.sleep(0.1)

    async def session(self, event):
        self.stats["resumed" if event == "session_resumed" else "bound"] += 1
        if event == "session_start":
            self.ledger.new_session()
            self.ledger.caught_up(await self.archive(self.ledger.read_to))
            self.client.send_presence()
            tracked = set()
        else:
            # What was handed over when the socket was going never came to the library's count.
            tracked = {stanza["id"] for _, stanza in self.sm.unacked_queue}
        for ident, body in list(self.waiting.items()):
            if ident not in tracked:
                self.stats["resent"] += 1
                self.say(ident, body)
        self.online.set()

    def say(self, ident, body):
        message = self.client.make_message(mto=self.ledger.other, mbody=body, mtype="chat")
        message["id"] = ident
        message.send()

    async def archive(self, after=None):
        """All rows after an id, in order: (archive id, forwarded message)."""
        rsm = {"max": 100, **({"after": after} if after else {})}
        pages = self.client.plugin["xep_0313"].iterate(rsm=rsm)
        results = [message.xml.find("{urn:xmpp:mam:2}result") async for message in pages]
        return [(r.get("id"), r.find(".//{jabber:client}message")) for r in results]

    async def load(self):
        while self.sending:
            await self.online.wait()
            if len(self.waiting) < UNACKED_MAX:
                ident, body = self.ledger.next()
                self.waiting[ident] = body
                self.say(ident, body)
            await asyncio.sleep(1 / self.options.rate)

    async def drained(self):
        """Everything is acknowledged."""
        while self.waiting:
            await self.online.wait()
            self.sm.request_ack()
            await asyncio.sleep(0.1)


async def scenario(options):
    dice = random.Random(options.seed)
    peers = [Peer(options, n) for n in (0, 1)]
    lives = [asyncio.ensure_future(p.live()) for p in peers]
    loads = [asyncio.ensure_future(p.load()) for p in peers]

    async def trouble():
        for _ in range(options.kills):
            await asyncio.gather(*(p.online.wait() for p in peers))
            await asyncio.sleep(options.pause / 2)
            if dice.random() < 0.5:  # a resumption that works, now and then
                peer = dice.choice(peers)
                peer.client.cut()
                await peer.lost.wait()
                await peer.online.wait()
            await asyncio.sleep(dice.random() * options.pause)
            for peer in peers:
                peer.online.clear()
            await options.server("kill")
        await asyncio.gather(*(p.online.wait() for p in peers))
        for peer in peers:
            peer.sending = False
        await asyncio.gather(*loads, *(p.drained() for p in peers))
        await judge([p.ledger for p in peers], [await p.archive() for p in peers])

    work = asyncio.ensure_future(trouble())
    await asyncio.wait([work, *lives], return_when=asyncio.FIRST_COMPLETED)
    for task in (*lives, work):
        if task.done():
            task.result()
        task.cancel()
    for peer in peers:
        if peer.fault:
            raise peer.fault
        check(peer.stats["failed"] or options.lenient, "nothing went wrong", peer.stats)
        await peer.client.bye()
    return {"kills": options.kills, "seed": options.seed,
            **{p.ledger.name: {**p.ledger.figures(), **p.stats} for p in peers}}


main(scenario, 2, [("kills", 5), ("seed", 1), ("rate", 50.0), ("pause", 1.0)])
