// Package wire is the codec of DL/T 698.45: link frames and their fragments,
// application units (APDUs) and all their data types, both ways, and what a
// frame means in words.
//
// It promises that what was decoded is encoded again byte for byte; that nothing
// is taken for valid whose checksum, length or structure isn't; that depth, nodes
// and sizes have limits, so that a hostile frame costs little; and that decoding
// into a Message or Frame that was used before allocates nothing. What is decoded
// points into the bytes it was decoded from.
//
// It has no clock, does no input or output, and neither encrypts nor decrypts.
package wire
