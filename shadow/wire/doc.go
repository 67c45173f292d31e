// Package wire is what cloud, edge and devices say to each other: topics,
// messages and their codecs. It is pure: no clock, I/O or goroutines.
//
// The shadow topics and messages are those of the AWS IoT Device Shadow
// service, byte for byte in shape, so that unmodified clients work. Beyond them
// there are three messages of our own, for Gnomon's agents: the sync request,
// its reply, and the desired push.
//
// Encoders append to a buffer and never fail; decoders are strict and bounded,
// and their errors name what is wrong. Rejection is the one place where an
// error becomes a code and a message.
package wire
