"""A three-phase DL/T 698.45 meter over TCP or a serial line, for tests and for
trying things out. It shares no code with the driver and checks its own frames
against published ones when it starts.

    meter.py --address 000000000010 --tcp 127.0.0.1:15698 [--part 3] [--fragment 40]
    meter.py --address 000000000010 --serial /dev/pts/7
"""

import argparse
import os
import socketserver
import struct
import sys
import tty

VALUES = {  # by OAD: data with their type
    0x40010200: None,  # the address, filled in below
    0x20000200: b"\x01\x03\x12\x08\xfc\x12\x08\xfd\x12\x08\xfe",
    0x20000201: b"\x12\x08\xfc", 0x20000202: b"\x12\x08\xfd", 0x20000203: b"\x12\x08\xfe",
    0x20000300: b"\x59\xff\x26",
    0x20010201: b"\x05" + struct.pack(">i", 5123), 0x20010202: b"\x05" + struct.pack(">i", -5124), 0x20010203: b"\x00",
    0x20040201: b"\x05" + struct.pack(">i", 12345), 0x20040202: b"\x05" + struct.pack(">i", -12345),
    0x200A0201: b"\x10" + struct.pack(">h", -998), 0x200F0200: b"\x12" + struct.pack(">H", 5003),
    0x00100201: b"\x06" + struct.pack(">I", 229832), 0x00200201: b"\x06" + struct.pack(">I", 126),
    0x20210200: b"\x1c" + struct.pack(">HBBBBB", 2026, 6, 29, 0, 0, 0),
}
RECORDS = {0x50040200: {0x20210200: VALUES[0x20210200], 0x00100201: b"\x06" + struct.pack(">I", 229000), 0x00200201: b"\x06" + struct.pack(">I", 100)}}


def checksum(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x8408 if crc & 1 else crc >> 1
    return struct.pack("<H", crc ^ 0xFFFF)


def frame(control, address, client, data):
    head = bytes([control, len(address) - 1]) + address[::-1] + bytes([client])
    head = struct.pack("<H", 2 + len(head) + 2 + len(data) + 2) + head
    head += checksum(head)
    return b"\x68" + head + data + checksum(head + data) + b"\x16"


class Meter:
    def __init__(self, options):
        self.address = bytes.fromhex(options.address)
        self.part, self.fragment = options.part, options.fragment
        self.parts, self.fragments, self.service = [], [], 0

    def result(self, oad):
        value = VALUES[oad] if oad != 0x40010200 else b"\x09" + bytes([len(self.address)]) + self.address
        return struct.pack(">I", oad) + b"\x01" + value

    def get(self, oad):
        return self.result(oad) if oad in VALUES else struct.pack(">I", oad) + b"\x00\x06"

    def next(self, piid, number):
        last = number == len(self.parts)
        return b"\x85\x05" + bytes([piid, last]) + struct.pack(">H", number) + b"\x01" + self.parts[number - 1] + b"\x00\x00"

    def answer(self, p):
        kind, piid = p[1], p[2]
        if p[0] != 5:
            return bytes([0xEE, piid, 2, 0, 0])
        if kind == 1:
            return bytes([0x85, 1, piid | 0x40]) + self.get(struct.unpack(">I", p[3:7])[0]) + b"\x00\x00"
        if kind == 2:
            results = [self.get(o) for (o,) in struct.iter_unpack(">I", p[4:4 + 4 * p[3]])]
            if self.part and len(results) > self.part:
                chunks = [results[i:i + self.part] for i in range(0, len(results), self.part)]
                self.parts = [bytes([len(c)]) + b"".join(c) for c in chunks]
                return self.next(piid, 1)
            return bytes([0x85, 2, piid, len(results)]) + b"".join(results) + b"\x00\x00"
        if kind == 3:
            record, columns = struct.unpack(">I", p[3:7])[0], p[9:-1]
            answer = bytes([0x85, 3, piid]) + p[3:7] + columns
            if record not in RECORDS:
                return answer + b"\x00\x06\x00\x00"
            oads = [struct.unpack(">xI", columns[i:i + 5])[0] for i in range(1, len(columns), 5)]
            return answer + b"\x01\x01" + b"".join(RECORDS[record].get(o, b"\x00") for o in oads) + b"\x00\x00"
        if kind == 5:
            return self.next(piid, struct.unpack(">H", p[3:5])[0] + 1)
        return bytes([0xEE, piid, 2, 0, 0])

    def hear(self, p):
        """Takes a whole frame, and returns what to say."""
        control, n = p[3], (p[4] & 15) + 1
        address, client, data = p[5:5 + n][::-1], p[5 + n], p[8 + n:-3]
        if p[6 + n:8 + n] != checksum(p[1:6 + n]) or p[-3:-1] != checksum(p[1:-3]):
            return b""
        if address != self.address and not p[4] >> 6 == 1:
            return b""
        if control & 0x20:
            at = (struct.unpack("<H", data[:2])[0] & 0xFFF) + 1
            return self.fragments[at] if at < len(self.fragments) else b""
        apdu = self.answer(data)
        if not self.fragment or len(apdu) <= self.fragment:
            return frame(0xC3, self.address, client, apdu)
        pieces = [apdu[i:i + self.fragment] for i in range(0, len(apdu), self.fragment)]
        kinds = [0] + [3] * (len(pieces) - 2) + [1]
        self.fragments = [
            frame(0xE3, self.address, client, struct.pack("<H", k << 14 | i) + c) for i, (k, c) in enumerate(zip(kinds, pieces))]
        return self.fragments[0]

    def serve(self, read, write):
        buffer = b""
        while True:
            got = read()
            if not got:
                return
            buffer += got
            while True:
                buffer = buffer[buffer.find(b"\x68"):] if b"\x68" in buffer else b""
                if len(buffer) < 3:
                    break
                size = struct.unpack("<H", buffer[1:3])[0] + 2
                if len(buffer) < size:
                    break
                whole, buffer = buffer[:size], buffer[size:]
                write(self.hear(whole))


def check(options):
    """The frames of others are what is said and understood here."""
    meter = Meter(argparse.Namespace(address="000000000010", part=0, fragment=0))
    asked = bytes.fromhex("6817004345AAAAAAAAAAAA10DA5F0501014001020000C60716")
    said = bytes.fromhex("682100C30510000000000010557E850141400102000109060000000000100000DDBA16")
    if meter.hear(asked) != said:
        sys.exit("does not answer as it must: " + meter.hear(asked).hex())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--tcp")
    parser.add_argument("--serial")
    parser.add_argument("--part", type=int, default=0, help="results in one part of a list")
    parser.add_argument("--fragment", type=int, default=0, help="bytes of an answer in one frame")
    options = parser.parse_args()
    check(options)
    if options.serial:
        fd = os.open(options.serial, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(fd)
        print("ready", flush=True)
        Meter(options).serve(lambda: os.read(fd, 512), lambda p: os.write(fd, p))
        return

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            Meter(options).serve(lambda: self.request.recv(512), self.request.sendall)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads = True, True

    host, port = options.tcp.rsplit(":", 1)
    with Server((host, int(port)), Handler) as server:
        print("ready", server.server_address[1], flush=True)
        server.serve_forever()


main()
