// Package history is what desired of a shadow was, the last few times it was
// written: the versions, who wrote them and when, and how to get back to each.
// The history of a shadow is one document of its own, kept beside it, which the
// shadow service writes together with the change that it tells of. What it holds
// is the way back: for each version the merge patch that undoes it.
//
// It promises that what desired was at a version that is kept comes out as it
// was, value by value, and that a history which doesn't lead up to the present
// document, because something was written without it, is taken for none.
//
// It is pure: no clock, I/O, logging or goroutines. It never changes a shadow.
package history
