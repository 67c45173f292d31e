// Package twin is the shadow service: the one place where a change of a shadow
// is authorised, validated, merged, committed and published.
//
// It promises that an accepted change is durable before anybody is told of it,
// that versions rise by exactly one, that what is published about a shadow is
// published in version order, and that readers see committed documents only. A
// change builds on the newest document, committed or not (the head); when a
// commit fails, everything built on it fails with it.
//
// It never knows who is connected or how: stores, brokers and HTTP are behind
// ports.
package twin
