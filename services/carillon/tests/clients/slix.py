"""A slixmpp client with queues instead of callbacks."""

import asyncio

from slixmpp import ClientXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from scenario import Failed, check

CLIENT = "{jabber:client}"
SID = "{urn:xmpp:sid:0}"
DELAY = "{urn:xmpp:delay}delay"


class Client(ClientXMPP):
    """One account's client. `inbox` and `presences` hold all that came, as stanzas."""

    def __init__(self, options, index, resource=None, password=None, mechanism=None, plugins=()):
        jid = options.jid(index) + (f"/{resource}" if resource else "")
        super().__init__(jid, password or options.password(index))
        self.options = options
        self.ssl_context = options.tls()
        self.auto_authorize = None
        self.auto_subscribe = False
        for plugin in ("xep_0030", "xep_0059", "xep_0199", "xep_0203", *plugins):
            self.register_plugin(plugin)
        if mechanism:
            self.plugin["feature_mechanisms"].use_mech = mechanism
        self.inbox, self.presences, self.pushes = asyncio.Queue(), asyncio.Queue(), asyncio.Queue()
        self._queue("message", self.inbox)
        self._queue("presence", self.presences)
        self.register_handler(
            Callback("push", MatchXPath(f"{CLIENT}iq/{{jabber:iq:roster}}query"), self._push)
        )

    def _queue(self, kind, queue):
        self.register_handler(Callback(f"all {kind}", MatchXPath(CLIENT + kind), queue.put_nowait))

    def _push(self, iq):
        if iq["type"] == "set":
            self.pushes.put_nowait(iq)

    async def connected(self, *events, direct=False, timeout=20):
        """Connects and waits for one of the events; returns its name and value."""
        self.enable_direct_tls, self.enable_starttls = direct, not direct
        waits = {asyncio.ensure_future(self.wait_until(e, timeout)): e for e in events}
        self.connect(self.options.host, self.options.tls_port if direct else self.options.port)
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED, timeout=timeout)
        for task in rest:
            task.cancel()
        check(done, f"{self.requested_jid} waited in vain for {' or '.join(events)}")
        first = done.pop()
        return waits[first], first.result()

    async def login(self, direct=False, presence=True):
        """Up to the session, with roster and presence unless told otherwise."""
        event, value = await self.connected("session_start", "failed_all_auth", direct=direct)
        check(event == "session_start", f"{self.requested_jid} could not log in", value)
        if presence:
            await self.get_roster()
            self.send_presence()
            await self.presence(lambda p: p["from"] == self.boundjid)
        return self

    async def _take(self, queue, wanted, what, timeout):
        """The first that is wanted; what comes before it is put aside and seen by the next call."""
        aside = []
        try:
            async with asyncio.timeout(timeout):
                while True:
                    stanza = await queue.get()
                    if wanted(stanza):
                        return stanza
                    aside.append(stanza)
        except TimeoutError:
            seen = "; ".join(str(s) for s in aside) or "nothing"
            raise Failed(f"{self.boundjid} waited in vain for {what}; came: {seen}") from None
        finally:
            later = aside + [queue.get_nowait() for _ in range(queue.qsize())]
            for stanza in later:
                queue.put_nowait(stanza)

    async def message(self, wanted=lambda m: True, what="a message", timeout=10):
        return await self._take(self.inbox, wanted, what, timeout)

    async def body(self, text, timeout=10):
        """The message with this body, not wrapped in another one."""
        return await self.message(lambda m: m["body"] == text, f"the message {text!r}", timeout)

    async def presence(self, wanted=lambda p: True, what="a presence", timeout=10):
        return await self._take(self.presences, wanted, what, timeout)

    async def push(self, wanted=lambda i: True, what="a roster push", timeout=10):
        iq = await self._take(self.pushes, lambda i: wanted(roster_items(i)), what, timeout)
        return roster_items(iq)

    async def settled(self):
        """After this, whatever the server sent before is in the queues: it answers in order."""
        await self.plugin["xep_0199"].send_ping(self.boundjid.domain, timeout=10)

    async def nothing(self, queue, wanted, what):
        """Nothing wanted is there now (call `settled` first) or shortly after."""
        await asyncio.sleep(0.3)
        found = [s for s in queue._queue if wanted(s)]
        check(not found, f"{self.boundjid} got {what}", *found)

    def say(self, to, text, kind="chat"):
        """Sends a message and returns its id."""
        message = self.make_message(mto=to, mbody=text, mtype=kind)
        message["id"] = self.new_id()
        message.send()
        return message["id"]

    async def contacts(self):
        """The whole roster, whatever version the client has: JID → attributes and groups."""
        iq = self.make_iq_get(queryxmlns="jabber:iq:roster")
        return roster_items(await iq.send(timeout=10))

    async def bye(self):
        await self.disconnect(wait=2.0)

    def cut(self):
        """Closes the socket without a word."""
        self.transport.abort()


def roster_items(iq):
    """Items of a roster result or push: JID → attributes and groups."""
    group = "{jabber:iq:roster}group"
    return {
        i.get("jid"): {**i.attrib, "groups": sorted(g.text for g in i.findall(group))}
        for i in iq.xml.iter("{jabber:iq:roster}item")
    }


def stanza_ids(stanza, by):
    """The ids that an archive gave to a stanza."""
    return [e.get("id") for e in stanza.xml.findall(f"{SID}stanza-id") if e.get("by") == by]
