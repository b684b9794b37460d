"""What every scenario shares: its command line, its result, and asking for a restart of the server.

A scenario is a script with one `async def` that gets `Options`. By hand, against any server:

    python chat.py --port 5222 --tls-port 5223 --ca server.crt romeo:secret juliet:secret

It exits with 0 and prints one line of JSON, or exits with 1 and says in it what was not as it should be.
"""

import argparse
import asyncio
import json
import logging
import ssl
import sys
import time
import traceback


class Failed(Exception):
    """Something was not as it should be."""


def check(holds, what, *seen):
    if not holds:
        raise Failed(what + "".join(f" | {s}" for s in seen))


class Options:
    """The server, the accounts, and who can restart the server."""

    def __init__(self, args):
        self.__dict__.update(vars(args))
        self.accounts = [tuple(a.split(":", 1)) for a in args.accounts]
        self._answers = None

    def user(self, index):
        return self.accounts[index][0]

    def jid(self, index):
        return f"{self.user(index)}@{self.domain}"

    def password(self, index):
        return self.accounts[index][1]

    def tls(self, direct=False, version=None):
        """A context that trusts the server's certificate and nothing else."""
        context = ssl.create_default_context(cafile=self.ca)
        # COMPAT: newer Pythons ask a certificate for extensions that a self-signed one need not have.
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if direct:
            context.set_alpn_protocols(["xmpp-client"])
        if version:
            context.minimum_version = context.maximum_version = version
        return context

    async def server(self, what):
        """Asks for `kill` (kill -9 and start), `term` (orderly stop and start), `stop` and `start` apart,
        `renew` (another certificate), `user VERB NAME [PASSWORD]`, or whether its log has or lacks a word
        (`logged`, `unlogged`); returns when it is done."""
        if self.control == "stdio":
            if self._answers is None:
                self._answers = asyncio.StreamReader()
                loop = asyncio.get_running_loop()
                protocol = asyncio.StreamReaderProtocol(self._answers)
                await loop.connect_read_pipe(lambda: protocol, sys.stdin)
            print(f"@{what}", flush=True)
            answer = (await self._answers.readline()).decode().strip()
            check(answer == "ok", f"the server could not {what}", answer)
        else:
            check(self.control, f"this scenario needs --control to {what} the server")
            process = await asyncio.create_subprocess_exec(self.control, *what.split())
            check(await process.wait() == 0, f"{self.control} {what} failed")


def main(scenario, accounts, arguments=()):
    """Runs `scenario(options)`, which returns what is worth knowing as a dict, or raises."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5222, help="STARTTLS")
    parser.add_argument("--tls-port", type=int, default=5223, help="direct TLS")
    parser.add_argument("--http-port", type=int, default=5280, help="metrics")
    parser.add_argument("--domain", default="localhost")
    parser.add_argument("--ca", required=True, help="the server's certificate, or who signed it")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for all of it")
    parser.add_argument("--control", help="`stdio`, or a program that takes kill, term, stop, start")
    parser.add_argument("--lenient", action="store_true", help="another server: pass over what only "
                        "Carillon promises, or what others are known to do otherwise")
    parser.add_argument("--debug", action="store_true")
    for name, default in arguments:
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("accounts", nargs=accounts, metavar="USER:PASSWORD")
    options = Options(parser.parse_args())
    logging.basicConfig(level=logging.DEBUG if options.debug else logging.CRITICAL)
    start = time.monotonic()

    async def limited():
        return await asyncio.wait_for(scenario(options), options.timeout)

    result = {"ok": False}
    try:
        result = {"ok": True, **(asyncio.run(limited()) or {})}
    except Failed as failed:
        result["error"] = str(failed)
    except asyncio.TimeoutError:
        result["error"] = f"not done after {options.timeout} s, or waited in vain"
        traceback.print_exc()
    except Exception as other:  # the line of JSON is always written
        result["error"] = f"{type(other).__name__}: {other}"
        traceback.print_exc()
    result["seconds"] = round(time.monotonic() - start, 2)
    print(json.dumps(result), flush=True)
    sys.exit(0 if result["ok"] else 1)
