// Package experiment measures how fast a fleet converges: it registers light
// nodes by the thousand, writes a desired change for each of their applications
// through REST, and takes the time from the answer 200 to the event that says
// the cloud committed the node's matching report. At the end it reads every
// shadow once more; only what the cloud holds then counts as converged.
//
// What is observed comes from the cloud's event stream, and from reading shadows
// where the stream broke, never from what a node believes. The seed fixes the
// faults and delays drawn; timing still decides how they interleave.
//
// It bounds its sockets before it starts, and never starts or stops a cloud.
package experiment
