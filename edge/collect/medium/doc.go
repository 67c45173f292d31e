// Package medium is what the protocols of meters have in common: lines that carry
// bytes, serial or TCP, which of them are in use, whose turn it is to use one, and
// how long a meter is left out that doesn't answer.
//
// It promises that a read or write of a line ends by its deadline, give or take
// the 20 ms slices of a serial port, that turns are given by priority, then in
// order of arrival, that nobody starves and no turn is lost, and that a medium is
// never open twice. It knows no protocol and no frames.
package medium
