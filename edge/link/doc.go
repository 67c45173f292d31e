// Package link keeps a node and its cloud of one mind over MQTT 5. It holds a
// replica of each of the node's shadows: the desired section as the cloud last
// gave it, what the node reports, and what of that the cloud has acknowledged.
//
// It promises that
//
//   - a desired section is on disk before the push that brought it is
//     acknowledged and before anyone here acts on it; what a sync brought and the
//     disk doesn't take is asked for again, and the cloud can be told meanwhile;
//   - no single message has to arrive: one sync on every connect, and one per
//     interval, find whatever was lost, doubled or late;
//   - reports of a shadow go out one at a time, in order, numbered by boot epoch
//     and sequence; what changed while one was on its way goes out as one more,
//     so that a slow link carries the last value and not the history;
//   - a report that an alarm was raised or cleared goes out before all others,
//     then how applications are, then readings, which wait half a minute at most;
//   - what else the connection carries (Traffic) goes out when no report is due, a
//     message at a time;
//   - without a connection everything is held on disk, and nothing else of the
//     node waits for one.
//
// It never acts on a desired section, and never decides what is reported.
package link
