// Package state is the node's own disk: what the cloud wants of each shadow,
// what the node last reported and what of that the cloud has acknowledged, the
// planner's memory, and the boot epoch. A rebooted node lives from it alone.
//
// It promises that
//
//   - what Put returned for survives a crash and a power cut, and a record is
//     always either the old or the new one, never a mixture;
//   - a record that does not check out, or is of another version's format, is
//     set aside, logged and told in Health, and the others never notice; the
//     cloud has what was lost;
//   - a full disk keeps no agent from starting: a reserve is kept for that day;
//   - every Open yields a higher boot epoch than any before it, on disk before
//     it is used; where nothing can be written it is the time, and Health says so;
//   - one process at a time uses a directory.
//
// It keeps nothing in memory, knows nothing of MQTT or of applications, and
// never deletes what it cannot read.
package state
