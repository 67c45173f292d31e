// Package fanout carries between the replicas of a cloud what isn't kept in the
// store they share: notices of committed changes, so that each tells its own
// clients and watchers; word of clients that have connected, so that one has a
// session at one replica only; and words of what became of a change at one
// replica, so that all can tell (see cloud/trace).
//
// It promises that a replica gets each message of another once or not at all,
// those about one thing in the order they were sent, and that it is told when it
// may have missed some: messages are numbered, an empty one ends a silence in
// which the last could have been lost, and a replica that falls silent without
// having said that it ends is taken for one that died before it told all. It
// never waits for anybody: what
// doesn't fit the queue, or is sent while the transport is away, is lost, which
// delays agents until they sync. Word of clients is kept and sent later.
//
// What stays within a replica: the answers to a client's own get, sync and
// rejected requests, and whatever clients send each other outside shadows.
//
// It never carries what isn't committed, and never decides anything: what a
// message says is in the store already.
package fanout
