// Package day is the compressed day: a node reads its station areas for a day by
// the real engine and drivers, over lines and through CCOs that take as long as
// real ones do, in virtual time. Meters die for hours and frames are lost.
//
// It promises that nothing is faster than it would be: no rule of timing is
// changed, only nobody waits for the clock. Every value that is counted is compared
// with what the meter had at that time. What is random follows from a seed.
//
// Run has to be called in a bubble of testing/synctest. It leaves nothing running.
package day
