// Package schema says what a typed shadow may hold: the node, its applications
// and its collection policies. It decodes strictly, applies defaults, validates,
// and holds the mode × option matrix as data. It is pure: no clock, randomness,
// I/O, logging or goroutines.
//
// A shadow named app:<name> is an application, collect:<name> a collection
// policy; in a classic shadow the member "node" describes a node. Everything
// else is free JSON and never looked at.
//
// The same functions run wherever a typed shadow is written or read, so the
// cloud refuses what an edge would refuse, in the same words: every problem
// names the path, the value and the limit. Parse functions never change their
// input, and defaults are never written back to the document: a document holds
// what was asked for and nothing else.
package schema
