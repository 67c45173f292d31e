// Package dlt698 reads meters that speak DL/T 698.45 over a serial line, or over
// TCP. Frames are packed and unpacked by its codec in wire.
//
// It promises that an answer is only ever taken for the request it belongs to: by
// the meter's address, the number of the service, and the attributes that were
// asked for. Late, foreign, doubled, cut or garbled ones are passed over. Answers
// in several parts are followed to their end, up to a bound. A port that fails is
// opened again; a meter that is dead costs its neighbours on the line a bounded
// share of the time.
//
// It asks in plain, without an association, and cannot write: there is no code
// for SET or ACTION.
package dlt698
