// Package upgrade brings the agent itself to the version that its node is to
// have: it fetches and checks that version, lays it beside the present one, and
// hands over to it through the launcher; being the new one, it sees that it is
// healthy, and then keeps itself.
//
// It promises that
//
//   - nothing but its own programs is touched: workloads and their shims go on;
//   - a version is used only if its digest is the one that is asked for and its
//     program says the version that is asked for;
//   - a version keeps itself only once it has opened its store, knows every
//     workload the one before it ran, and has reached the cloud, or, if that was
//     out of reach before, has run long enough;
//   - a version that failed is remembered by what it consists of, and not tried
//     again because something else changed;
//   - what is desired last counts, also in the midst of an upgrade.
//
// It never starts an agent, and never gives the running version up: edge/upgrade/launch
// does.
package upgrade
