// Package trace remembers what became of recent changes of desired: written,
// committed, published, delivered, planned, reported, converged, or superseded,
// each with its time, under the W3C trace id that the write came with or was
// given.
//
// It promises that a step is remembered at a cost that doesn't grow with what is
// remembered; that its memory is bounded, the oldest changes going first; and that
// a Story tells what is known apart from what isn't: what happened before this
// process, or was forgotten since, is derived from the document and what the history
// keeps, or is said to be unknown, never guessed.
//
// Where several processes share a store, each hears of the changes of all, with
// their traces, and tells the others which messages its own clients were sent and
// acknowledged and when they left (a word). Words may be lost, which costs a step.
//
// It keeps nothing across restarts, decides nothing, and nothing waits for it.
package trace
