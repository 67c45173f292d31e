// Package launch starts the agent, again and again, and decides which version of
// it: the current one, or the one on trial. It is the part of an upgrade that is
// never upgraded by it.
//
// It promises that
//
//   - there is always an agent to start, whenever agent or launcher died: the
//     current one, the one before it, or the one it was installed with;
//   - a version on trial becomes the current one only by its own doing, which
//     takes being healthy; three bad starts, or not becoming healthy in time, end
//     the trial, and the current version is started again;
//   - what the disk or a power cut did is not blamed on a version: it is counted
//     apart;
//   - the agent doesn't outlive it, so that there are never two;
//   - what the agent runs is not its business: it signals the agent alone.
//
// It knows nothing of shadows, of the cloud, or of why a version is wanted.
package launch
