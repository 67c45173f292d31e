// Package modbus reads meters over Modbus TCP, Modbus RTU on a serial line, and
// RTU frames through a serial server (Modbus Application Protocol V1.1b3, Modbus
// over Serial Line V1.02, Modbus Messaging on TCP/IP V1.0b). Requests and
// answers are packed by goburrow/modbus; the transport is our own.
//
// It promises that an answer is only ever taken for the request it belongs to:
// late, foreign, cut or garbled ones are thrown away, on TCP by their
// transaction, on a serial line, which has none, by silence and by looking twice
// after anything went wrong. A port that fails is opened again; a unit that is
// dead costs its neighbours on the line a bounded share of the time.
//
// No request touches a register that the policy or the meter's model forbids, nor one
// past the last: of items in SunSpec models that is found out where they are.
//
// It writes only when it is asked to (Write), one item once, and shows what the meter
// says of it afterwards. What may be written is decided before (collect.Engine).
package modbus
