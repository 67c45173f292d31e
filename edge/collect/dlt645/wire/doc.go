// Package wire is DL/T 645-2007 on the wire: frames, data identifiers, numbers
// and times in BCD, load records and freezes; and of DL/T 645-1997 as much as is
// needed to recognize it. It explains any frame to people.
//
// It promises that what it decodes it encodes to the same bytes, that whatever
// is refused is refused with the reason, and that a value a meter doesn't have
// is never a number. Frames and values are coded without allocating. It is pure:
// no clock, no I/O, no goroutines, and it never says when what is sent.
package wire
