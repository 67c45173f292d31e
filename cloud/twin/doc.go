// Package twin is the shadow service: the one place where a change of a shadow
// is authorised, validated, merged, committed and published.
//
// It promises that an accepted change is durable before anybody is told of it,
// that versions rise by exactly one, that what is published about a shadow is
// published in version order, and that readers see committed documents only. A
// change builds on the newest document, committed or not (the head); when a
// commit fails, everything built on it fails with it. A refusal speaks of the
// head, too, and is given only once that is committed: who hears of a conflict
// reads the version it was in conflict with.
//
// Where several processes share a store, a change is written only onto the very
// document it was built on. One that another process overtook is planned anew on
// what is there now, in the order of arrival, a bounded number of times; its
// refusals, too, hold only if nobody came in between. Reads go to the store, so
// that a change answered by one process is seen by all; what is published about
// a shadow is in version order for each process.
//
// With a change of desired its history is written, and a change-set writes all its
// shadows together with the record of what became of it: in one change set of the
// store, so that they are there together or not at all. Both are kept under names
// that no client can give. Reports write nothing but their shadow.
//
// It never knows who is connected or how: stores, brokers and HTTP are behind
// ports.
package twin
