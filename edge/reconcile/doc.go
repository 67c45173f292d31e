// Package reconcile brings the node to what is wanted of it: a pure planner that
// turns (desired, observed, remembered, now) into steps. Who carries them out tells
// Memory what became of them.
//
// It promises that
//
//   - every pass starts from everything desired and everything observed, so that
//     no event has to arrive for the node to converge;
//   - an instance that runs what is wanted is never touched, whatever happens to
//     the agent, the link or other applications;
//   - a failure is remembered by the content that failed, not by its version, and
//     costs the application itself a growing pause and nobody else anything;
//   - a running instance is stopped for its replacement only once that can start,
//     and for being unhealthy only if it is started again;
//   - one that is to be taken over from is ended only once what was started beside it
//     has been well, and never if that fails; there are never two for good;
//   - a run configuration that fails before it was committed gives way, where that
//     is asked for, to the last one that was, and isn't tried again;
//   - a container that ran well and fails with what an attached application adds to
//     it is rebuilt without;
//   - what desired says is mirrored in a report only once it is applied;
//   - nothing is removed unless the cloud said that it is gone.
//
// The planner has no clock, randomness, I/O or goroutines. The loop around it
// never decides: it runs steps, one at a time per application, and asks again.
package reconcile
