// A Modbus TCP slave on modbus-serial for tests: a process of its own, on a library
// that shares no code with the driver. Usage: node slave.js HOST PORT, which says
// ready once it listens. It holds the tests' meter, unit 1 alone: input registers
// 0 to 299 are floats, 1 + address/4 each; holding registers are 7 times the
// address, plus 1, until they are written; coils are false until they are.
"use strict";
const { ServerTCP } = require("modbus-serial");
const [host, port] = process.argv.slice(2);
const PLACES = 300;
const illegalAddress = 2;

const holding = new Map();
const coils = new Map();

function within(address) {
  if (address < 0 || address >= PLACES) throw { modbusErrorCode: illegalAddress, msg: "no such place" };
}

const vector = {
  getInputRegister(address, unit) {
    within(address);
    const float = Buffer.alloc(4);
    const at = address - (address % 2);
    float.writeFloatBE(1 + at / 4);
    return float.readUInt16BE(2 * (address % 2));
  },
  getHoldingRegister(address, unit) {
    within(address);
    return holding.has(address) ? holding.get(address) : 7 * address + 1;
  },
  getCoil(address, unit) {
    within(address);
    return coils.get(address) || false;
  },
  setRegister(address, value, unit) {
    within(address);
    holding.set(address, value);
  },
  setCoil(address, value, unit) {
    within(address);
    coils.set(address, value);
  },
};

const server = new ServerTCP(vector, { host, port: Number(port), debug: false, unitID: 1 });
server.on("socketError", () => {}); // a connection that is cut
server.on("serverError", (err) => {
  console.error(err);
  process.exit(1);
});
server.on("initialized", () => console.log("ready"));
