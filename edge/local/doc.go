// Package local lets people and programs on the node itself look at it and change
// it, over a socket in the agent's directory: HTTP and JSON under /v1.
//
// It promises that
//
//   - it answers the same with and without a cloud;
//   - nobody gets in but root and whoever the agent runs as, whatever the rights of
//     the socket's file, and no network leads to it;
//   - what it changes is a site override: for a time, with a reason, and told to
//     the cloud;
//   - bodies, connections and the time for each are bounded, and what is refused
//     is refused with a problem (RFC 9457) that says what to do next.
//
// It decides nothing about applications, and never touches a workload itself.
package local
