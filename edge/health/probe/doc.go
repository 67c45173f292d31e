// Package probe finds out whether what runs on this node works: it asks each
// instance by HTTP or TCP, or has a program run beside it, as its application's
// run.health says, and keeps what became of it.
//
// It promises that
//
//   - probes run side by side, a bounded number at a time, and one that hangs
//     ends at its timeout and delays no other application's for longer than that;
//   - a change of what is probed takes effect at once, and nothing that was found
//     under another probe counts;
//   - what it says of an instance changes only with the number of failures or
//     successes in a row that its application asks for.
//
// It never stops or starts an instance, keeps nothing on disk, and never follows a
// redirect to another place.
package probe
