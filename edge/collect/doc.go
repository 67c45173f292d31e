// Package collect runs collection policies: it decides when which meter is read,
// stamps what comes back, hands it to a store, reads later what was missed from
// what meters keep, and has the latest of it for reporting.
//
// It promises that slots are aligned to the clock, that a policy never runs two
// cycles at once, that a jump of the clock costs at most one cycle and never
// starts a storm, and that changing one policy leaves all others alone and loses
// no slot of its own. A value that could not be read is missing with a reason; it is
// never another value. Reading later never delays a slot, and what a meter doesn't
// keep is asked for once. A driver that panics costs its policy what was asked for, and
// nobody else anything.
//
// It knows no protocol: those are behind Driver, one package each.
package collect
