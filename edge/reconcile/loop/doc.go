// Package loop carries out what the planner in edge/reconcile decides, runs the
// collection policies, and reports what became of both.
//
// It promises that
//
//   - every pass starts from everything desired and everything observed; what
//     wakes it is only a hint that a pass is due;
//   - one step at a time is under way per application, and a slow one holds up
//     nobody else: it gives its slot to others, and is broken off when it takes
//     longer than it may;
//   - what the planner remembers is on disk before the report that follows from it;
//   - what desired says is mirrored in a report only once it is applied;
//   - ending it ends no workload: the next one finds them as they are.
//
// It never decides what to do about an application, and never talks to the cloud:
// reports go to whoever keeps the shadows.
package loop
