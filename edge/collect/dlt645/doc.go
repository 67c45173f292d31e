// Package dlt645 reads DL/T 645-2007 meters on a shared RS-485 line, over a
// serial port or through a serial server.
//
// It promises that an answer is only ever taken for the meter and the item it
// belongs to. Answers name their meter and their data identifier, and what names
// another is passed over: late answers, those of other meters, and the echo of
// our own requests. Refusals name no identifier, so they are believed only when
// nothing else of that meter can be meant. What is cut or garbled is thrown away;
// tries and follow-up frames are bounded; a dead meter costs its neighbours on
// the line a bounded share of the time. A value the meter doesn't have is
// missing, never a number.
//
// It cannot write: it has no code for it, and builds only requests to read.
package dlt645
