"""Two clients under load, the server killed -9 again and again: nothing acknowledged is lost or doubled.

Each client sends numbered messages to the other, cuts its own socket now and then, and keeps a ledger. After a loss it
resumes. Where the server answers `<failed h='…'/>`, it takes what `h` covers as acknowledged, binds anew, reads its archive
from where it had read to, and sends again only what is beyond `h`, with the same ids. `ledger.py` judges.
"""

import asyncio
import random

from ledger import Ledger, judge
from scenario import check, main
from wire import Closed, Wire

RETRY_S = 0.05
UNACKED_MAX = 100
ASK_EVERY = 10


class Peer:
    """One client with its ledger."""

    def __init__(self, options, index, dice):
        self.options, self.dice = options, dice
        self.ledger = Ledger(options, index)
        self.name, self.other = self.ledger.name, self.ledger.other
        self.wire = Wire(options, *options.accounts[index])
        self.wire.on_stanza = self.ledger.received
        self.wire.on_acked = self.acknowledged
        self.waiting = []  # (id, body) to be sent again on a new session
        self.ready = False  # presence is out, and what waited was sent again
        self.online = asyncio.Event()
        self.sending = True
        self.stored = False  # a message of this session was acknowledged
        self.stats = dict.fromkeys(("resumed", "failed", "bound", "resent", "failed_without_h"), 0)

    def acknowledged(self, kind, text):
        if kind == "message":
            self.stored = True
            self.ledger.acked.add(text.split('id="')[1].split('"')[0])

    # The connection

    async def live(self):
        """Connects for ever, with whatever the server allows."""
        while True:
            try:
                await self.session()
                await self.wire.ended()
            except (Closed, OSError, TimeoutError):
                pass
            finally:
                self.online.clear()
                self.wire.cut()
            if self.wire.fault:
                raise self.wire.fault
            await asyncio.sleep(RETRY_S * self.dice.random())

    async def session(self):
        async with asyncio.timeout(20):
            await self.wire.connect(direct=self.dice.random() < 0.5)
            if self.wire.sm_id:
                if await self.wire.resume():
                    self.stats["resumed"] += 1
                else:
                    self.refused()
            if not self.wire.sm_id:
                self.ready = self.stored = False
                self.ledger.new_session()
                await self.wire.bind("loss")
                self.stats["bound"] += 1
        if not self.ready:
            self.ledger.caught_up(await self.wire.archive(after=self.ledger.read_to))
            self.wire.presence()
            while self.waiting:
                self.stats["resent"] += 1
                self.wire.message(self.other, *self.waiting.pop(0))
            self.ready = True
        self.online.set()

    def refused(self):
        """After `<failed/>`: what its `h` does not cover goes out again, before anything new."""
        self.stats["failed"] += 1
        if self.wire.failed_h is None and self.stored:
            # It knew the session: what was acknowledged has left its row.
            self.stats["failed_without_h"] += 1
        beyond = [(t.split('id="')[1].split('"')[0], t) for _, k, t in self.wire.unacked if k == "message"]
        again = [(ident, text.split("<body>")[1].split("</body>")[0]) for ident, text in beyond]
        self.waiting = again + self.waiting
        self.wire.unacked.clear()

    # The load

    async def load(self):
        while self.sending:
            await self.online.wait()
            try:
                if self.wire.sent - self.wire.acked < UNACKED_MAX:
                    # From here on it is in `unacked`, even where the socket is found to be gone.
                    self.wire.message(self.other, *self.ledger.next())
                if self.ledger.count % ASK_EVERY == 0:
                    self.wire.request_ack()
            except Closed:
                self.online.clear()
            await asyncio.sleep(self.dice.random() * 2 / self.options.rate)
            if self.dice.random() < self.options.cuts / self.options.rate:
                self.wire.cut_now()

    async def drained(self):
        """Everything is acknowledged."""
        while len(self.ledger.acked) < self.ledger.count:
            await self.online.wait()
            try:
                self.wire.request_ack()
            except Closed:
                pass
            await asyncio.sleep(0.1)


async def scenario(options):
    dice = random.Random(options.seed)
    peers = [Peer(options, n, random.Random(dice.random())) for n in (0, 1)]
    lives = [asyncio.ensure_future(p.live()) for p in peers]
    loads = [asyncio.ensure_future(p.load()) for p in peers]

    async def trouble():
        for _ in range(options.kills):
            if dice.random() < 0.8:  # else it is killed while clients are coming back
                await asyncio.gather(*(p.online.wait() for p in peers))
            await asyncio.sleep(dice.random() * options.pause)
            await options.server("kill")
        await asyncio.gather(*(p.online.wait() for p in peers))
        await asyncio.sleep(options.pause)
        for peer in peers:
            peer.sending = False
        await asyncio.gather(*loads, *(p.drained() for p in peers))
        await judge([p.ledger for p in peers], [await p.wire.archive() for p in peers])

    work = asyncio.ensure_future(trouble())
    done, _ = await asyncio.wait([work, *lives, *loads], return_when=asyncio.FIRST_COMPLETED)
    while work not in done and all(t in loads and not t.exception() for t in done):
        done, _ = await asyncio.wait([work, *lives], return_when=asyncio.FIRST_COMPLETED)
    for task in (work, *lives, *loads):
        if task in done and task.exception():
            raise task.exception()
        task.cancel()
    if not options.lenient:
        happened = all(sum(p.stats[s] for p in peers) for s in ("failed", "resumed", "resent"))
        check(options.kills < 10 or happened, "too little went wrong", *(p.stats for p in peers))
        for peer in peers:
            check(not peer.stats["failed_without_h"], f"{peer.name}: <failed/> without h", peer.stats)
    for peer in peers:
        await peer.wire.close()
    return {"kills": options.kills, "seed": options.seed,
            **{p.name: {**p.ledger.figures(), **p.stats} for p in peers}}


main(scenario, 2, [("kills", 50), ("seed", 1), ("rate", 200.0), ("cuts", 1.5), ("pause", 0.6)])
