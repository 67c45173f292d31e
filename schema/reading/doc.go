// Package reading says what collected readings are, and how many of them travel
// in one message: rows of values, one for each meter and time, with where they
// come from and why some are missing.
//
// It promises that a batch decodes to what was encoded, to the digit; that equal
// batches encode to equal bytes; and that no input, however hostile, takes more
// than 8 MiB of memory.
//
// It never stores, sends or asks for anything, and knows no clock.
package reading
