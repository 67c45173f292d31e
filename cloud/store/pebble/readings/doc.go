// Package readings keeps collected readings in a pebble database of its own, beside
// that of the shadows, so that neither waits for the other's syncs and a damaged one
// leaves the other alone.
//
// It promises what readingstest checks: what was reported done is there after any
// crash, a batch is there whole or not at all, and a batch told twice changes
// nothing. Nothing is read to write: what is told is handed to pebble as a piece to
// be merged, and what supersedes what is decided where pieces are put together, when
// they are read or compacted. So the cost of a batch doesn't grow with what is there.
//
// A piece holds one meter's rows of four hours, column by column, as far as they are
// of whole five seconds, and of five minutes otherwise; pieces of a policy and the same
// four hours lie together, so that a day of a policy, or of a meter, is read from a few
// places, and what is too old goes with one range.
//
// What a piece may have of what is told since format 2 is bounded, beyond what any
// policy comes to: a node that tells of more rows or items than that has some left out,
// the same ones whatever the order, and the log says so. Rows that format 1 put into a
// piece all stay.
//
// It never looks into the names it is given.
package readings
