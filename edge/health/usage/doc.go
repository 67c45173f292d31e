// Package usage measures what a node and its applications use: processor, memory,
// processes, disk and network.
//
// It promises that
//
//   - a sample reads some small files of the kernel per application and nothing
//     else, so that sampling costs no thousandth of a core;
//   - what cannot be told is left out, never guessed: rates before a second sample,
//     the network of an application that shares the node's;
//   - walking a directory tree is bounded in entries, goes on for at most a tenth
//     of the time, stays on its file system and follows no link.
//
// It never changes anything, never decides what is too much, and keeps no history
// but the sample before.
package usage
