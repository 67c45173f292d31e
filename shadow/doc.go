// Package shadow is the document at the heart of Gnomon and its algebra: parse,
// merge, diff, versions, metadata, limits. It is pure: no clock, randomness,
// I/O, logging or goroutines; the time of a change is an argument.
//
// # Nomenclature
//
// A thing has shadows: one unnamed, classic shadow and any number of named
// ones. A shadow is a Document with two sections, desired (what the cloud
// wants) and reported (what the thing says it is). Every leaf carries the time
// it was last written, its stamp; the tree of stamps is the document's
// metadata. The delta is what desired has and reported lacks or differs in.
//
// # Promises
//
//   - Values and Documents never change after they are made; Apply, Merge and
//     Diff return new ones that share what did not change. They may be read by
//     any number of goroutines.
//   - Every accepted update raises the version by exactly one. A deleted shadow
//     keeps its version, so a recreated one goes on from there.
//   - Equal documents have equal digests on every machine: members are ordered
//     by key, numbers compare by value (1 equals 1.0), the last of duplicate
//     keys wins, escaped and plain spellings of a key are one key.
//   - Input beyond Limits is refused with an *InvalidError or *LimitError
//     naming field, limit and value, and nothing of it is kept.
//
// The semantics are those of the AWS IoT Device Shadow service: RFC 7396 merge
// in which an array is replaced whole and may not contain null, and an empty
// object is a value that is stored and appears in deltas. Only the sections
// themselves are different: desired or reported without members is absent.
package shadow
