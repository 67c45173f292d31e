// Package day is the compressed day: a node reads its station areas for a day by
// the real engine and drivers, over lines and through CCOs that take as long as
// real ones do, keeps what it reads in its own store, and tells it to the real
// service and store of a cloud; all but those in virtual time. Meters die for
// hours, frames are lost, the node loses its power, and the link to the cloud is
// slow, lossy and down for hours.
//
// It promises that nothing is faster than it would be: no rule of timing is
// changed, only nobody waits for the clock. It judges by what the cloud has: every
// value is compared with what the meter had then, and what the node's store said it
// keeps must not have been read again. What is random follows from a seed.
//
// Run has to be called in a bubble of testing/synctest, OpenCloud and Judge outside.
package day
