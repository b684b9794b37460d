"""SCRAM with channel binding, and SCRAM whose binding is wrong: only the first is let in."""

import ssl

from scenario import check, main
from wire import SASL, SaslRefused, Wire


async def scenario(options):
    version = ssl.TLSVersion.TLSv1_2 if options.binding == "tls-unique" else None
    for mechanism in options.mechanisms.split(","):
        for direct in (False, True):
            wire = Wire(options, *options.accounts[0])
            await wire.connect(direct, mechanism, version, options.binding)
            await wire.bind("bound")
            await wire.close()
            wrong = Wire(options, *options.accounts[0])
            wrong._binding = lambda kind: bytes(32)
            try:
                await wrong.connect(direct, mechanism, version, options.binding)
                check(False, f"{mechanism} was let in with a wrong binding")
            except SaslRefused as refused:
                condition = refused.condition
                check(condition in ("not-authorized", "malformed-request"), "the condition", condition)
            wrong.cut()


main(scenario, 1, [("mechanisms", "SCRAM-SHA-1-PLUS,SCRAM-SHA-256-PLUS,SCRAM-SHA-512-PLUS"),
                   ("binding", "tls-server-end-point")])
