// Package node is a light edge node for simulations: it speaks the agent's real
// protocol to the cloud and applies nothing, it only takes its time and reports.
// One node costs one goroutine and a few KiB.
//
// Like the agent it connects, subscribes and syncs: one message says which
// desired versions and which reported state it holds, one answer brings what
// differs. A pushed desired change is taken only when it follows on from the
// version held; anything else leads to another sync. Reports mirror the desired
// members, carry boot epoch and sequence, are in flight once for each shadow and
// coalesce meanwhile. After a lost connection nothing is resent; the sync says
// what is missing. Reconnects back off with decorrelated jitter.
//
// Faults are injected on purpose and counted: a connection cut just before or
// just after a report, an application that fails once.
//
// It runs no application, stores nothing on disk, and its memory is bounded by
// MaxShadows documents.
package node
