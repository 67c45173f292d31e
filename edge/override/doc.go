// Package override keeps what somebody on the node itself made of its applications,
// for a time: a site override. It lies between what the cloud desires and those who
// act on it, and looks to them like the shadows themselves.
//
// It promises that
//
//   - an override is on disk before it takes effect, and outlives the agent, the
//     node's reboot and days offline;
//   - it ends with its lease, which no clock that is set can prolong beyond the
//     time that was granted while the node runs (see lease);
//   - what the cloud changes meanwhile beside it applies at once, what it changes
//     of the same is told as a conflict and applies when the override ends;
//   - the cloud is told of it with every report of the application;
//   - what nobody else asked for, installed on the node, stays until its lease
//     ends or the cloud asks for the same.
//
// What the cloud deletes ends the override of it. The package never talks to the
// cloud and runs nothing: it says what is wanted.
package override
