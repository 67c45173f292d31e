#!/usr/bin/python3
"""Serves the register map of an Eastron SDM630 meter by pymodbus, over Modbus
TCP or RTU: input registers (FC04), 32-bit floats, big-endian.
usage: sdm630_slave.py --tcp HOST:PORT | --rtu DEVICE [--baud N] [--unit N]"""
import argparse
import asyncio
import logging
import math
import signal
import struct
import time

from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.framer.rtu_framer import ModbusRtuFramer
from pymodbus.server.async_io import StartAsyncSerialServer, StartAsyncTcpServer

logging.disable(logging.CRITICAL)
started = time.time()


def values():
    """The meter's values now: a three-phase load that swings slowly."""
    t = time.time() - started
    volts = [230 + 1.5 * math.sin(t / 20 + p) for p in (0, 2.1, 4.2)]
    amps = [4 + math.sin(t / 15 + p) for p in (0, 2.1, 4.2)]
    factors = [0.95 + 0.02 * math.sin(t / 30 + p) for p in (0, 2.1, 4.2)]
    watts = [u * i * f for u, i, f in zip(volts, amps, factors)]
    out = {}
    for p in range(3):
        out[2 * p], out[6 + 2 * p] = volts[p], amps[p]
        out[12 + 2 * p], out[30 + 2 * p] = watts[p], factors[p]
    out[52], out[70] = sum(watts), 50 + 0.02 * math.sin(t / 7)
    out[72], out[74] = 1662.69 + sum(watts) * t / 3.6e6, 0.5
    return out


class Registers(ModbusSequentialDataBlock):
    """Input registers that are worked out when they are read."""

    def getValues(self, address, count=1):
        words = [0] * 128
        for register, value in values().items():
            words[register:register + 2] = struct.unpack(">HH", struct.pack(">f", value))
        return words[address:address + count]


async def main():
    args = argparse.ArgumentParser()
    args.add_argument("--tcp")
    args.add_argument("--rtu")
    args.add_argument("--baud", type=int, default=9600)
    args.add_argument("--unit", type=int, default=1)
    args = args.parse_args()
    slave = ModbusSlaveContext(ir=Registers(0, [0] * 128), zero_mode=True)
    context = ModbusServerContext(slaves={args.unit: slave}, single=False)
    if args.tcp:
        host, _, port = args.tcp.rpartition(":")
        serve = StartAsyncTcpServer(context=context, address=(host, int(port)), allow_reuse_address=True)
    else:
        serve = StartAsyncSerialServer(context=context, framer=ModbusRtuFramer, port=args.rtu, baudrate=args.baud)
    task = asyncio.ensure_future(serve)
    loop = asyncio.get_running_loop()
    for s in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(s, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        pass


asyncio.run(main())
