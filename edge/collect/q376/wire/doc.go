// Package wire is the codec of Q/GDW 10376.2-2019, the local interface between a
// concentrator and its central coordinator (CCO) for HPLC: frames, the data units
// of every AFN and Fn both ways, the meter frames that they carry, denials, and
// the tasks of proactive collection that provinces have added. It explains any
// frame to people.
//
// It promises that what it decodes it encodes to the same bytes; that what is
// refused is refused with the place and the reason; that counts and lengths are
// bounded; and that decoding allocates nothing: what is decoded points into the
// bytes it was decoded from. It is pure: no clock, no I/O, no goroutines. It
// doesn't look into carried frames beyond their bounds and addresses, and never
// says when what is sent.
package wire
