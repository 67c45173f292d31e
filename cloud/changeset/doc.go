// Package changeset is what is to be changed of one thing together, and the life
// of such a change: not before a time, in a maintenance window, when the thing
// reports what is asked of it, not after a time. The change-sets of a thing are
// one document of its own, kept beside its shadows, which the shadow service
// writes together with the shadows that a change-set changes.
//
// It promises that a change-set is applied whole or not at all, that its
// generation is one that the thing has not had, that one which ended never begins
// again, and that what is taken back is only what nobody else wrote since.
//
// It is pure: no clock, I/O, logging or goroutines. It works out what is to be
// written and never writes.
package changeset

import "gnomon/cloud/store"

// Record is the shadow part of the key of a thing's change-sets.
const Record = store.InternalPrefix + "changes"

// Key is where the change-sets of a thing are kept.
func Key(thing string) store.Key { return store.Key{Thing: thing, Shadow: Record} }
