"""Security case 41: which versions and suites of TLS the server takes, found out as a scanner does: one hello for each."""

import asyncio
import os
import struct

from scenario import check, main
from wire import Wire

HANDSHAKE, ALERT = 22, 21
VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2"}
# With a key of ECDSA: AES-GCM of both lengths, and ChaCha20-Poly1305, with fresh keys each time.
AEAD = {0xC02B, 0xC02C, 0xCCA9}
ALL = [*range(0x0000, 0x0100), *range(0xC000, 0xC100), *range(0xCC00, 0xCCC0)]
SIGNALS = {0x00FF}  # renegotiation info, no suite


def vector(size, data):
    return len(data).to_bytes(size, "big") + data


def extension(kind, data):
    return struct.pack("!H", kind) + vector(2, data)


def hello(version, suites, domain):
    """A ClientHello as clients of that version say it, for whatever suites."""
    alpn = vector(1, b"xmpp-client")
    extensions = b"".join((
        extension(0, vector(2, b"\0" + vector(2, domain.encode()))),
        extension(10, vector(2, bytes.fromhex("001d00170018"))),
        extension(11, vector(1, b"\0")),
        extension(13, vector(2, bytes.fromhex("0403050308040805040105010203"))),
        extension(16, vector(2, alpn)),
        extension(23, b""),
    ))
    body = struct.pack("!H", version) + os.urandom(32) + vector(1, b"")
    body += vector(2, b"".join(struct.pack("!H", s) for s in suites)) + vector(1, b"\0")
    if version > 0x0300:
        body += vector(2, extensions)
    message = b"\x01" + vector(3, body)
    return bytes([HANDSHAKE]) + struct.pack("!H", min(version, 0x0301)) + vector(2, message)


async def answer(options, sent):
    """The type of the first record that comes back, or `None`."""
    reader, writer = await asyncio.open_connection(options.host, options.tls_port)
    try:
        writer.write(sent)
        async with asyncio.timeout(5):
            record = await reader.read(1)
            return record[0] if record else None
    except OSError:
        return None
    finally:
        writer.transport.abort()


async def scenario(options):
    for version, name in VERSIONS.items():
        got = await answer(options, hello(version, ALL, options.domain))
        check((got == HANDSHAKE) == (version == 0x0303), f"{name}: answered with {got}")
    taken = set()
    for suite in ALL:
        if await answer(options, hello(0x0303, [suite], options.domain)) == HANDSHAKE:
            taken.add(suite)
    check(taken - SIGNALS == AEAD, "suites of TLS 1.2", [hex(s) for s in sorted(taken ^ AEAD)])
    # A hello as SSL 2.0 has it, which servers took for long after.
    old = b"\x01\x03\x03" + struct.pack("!HHH", 3, 0, 16) + b"\x00\x00\x2f" + os.urandom(16)
    got = await answer(options, struct.pack("!H", 0x8000 | len(old)) + old)
    check(got != HANDSHAKE, "a hello of SSL 2.0 is answered")
    # By a real library: TLS 1.3, which has no other suites.
    wire = await Wire(options, *options.accounts[0]).connect(direct=True)
    tls = wire.writer.get_extra_info("ssl_object")
    check(tls.version() == "TLSv1.3", "the best version is taken", tls.version())
    await wire.close()
    return {"suites": sorted(hex(s) for s in taken)}


main(scenario, 1)
