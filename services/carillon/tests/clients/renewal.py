"""SIGHUP: a certificate that was replaced is shown from then on, and streams that stand go on."""

import hashlib
import ssl

from scenario import check, main
from wire import Wire


def shown(wire):
    return hashlib.sha256(wire.writer.get_extra_info("ssl_object").getpeercert(True)).digest()


async def scenario(options):
    older = await Wire(options, *options.accounts[0]).connect()
    first = shown(older)
    await older.bind("older")
    await options.server("renew")
    for direct in (False, True):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            newer = Wire(options, *options.accounts[0])
            # Trusts what is in the file now, and nothing else; the channel is bound to it too.
            await newer.connect(direct, "SCRAM-SHA-256-PLUS", version, "tls-server-end-point")
            check(shown(newer) != first, "the certificate of before is shown")
            await newer.close()
    answer = await older.iq("get", "<ping xmlns='urn:xmpp:ping'/>")
    check(answer.get("type") == "result", "a stream of before goes on")
    await older.close()


main(scenario, 1)
