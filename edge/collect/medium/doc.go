// Package medium is what the protocols of meters have in common: lines that carry
// bytes, serial or TCP, whose turn it is to use one, and how long a meter is left
// out that doesn't answer.
//
// It promises that a read or write of a line ends by its deadline, give or take
// the 20 ms slices of a serial port, and that turns are given by priority, then
// in order of arrival, and are never lost. It knows no protocol and no frames.
package medium
