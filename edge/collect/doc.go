// Package collect runs collection policies: it decides when which meter is read,
// stamps what comes back, and keeps the latest of it for reporting.
//
// It promises that slots are aligned to the clock, that a policy never runs two
// cycles at once, that a jump of the clock costs at most one cycle and never
// starts a storm, and that changing one policy leaves all others alone. A value
// that could not be read is missing with a reason; it is never another value.
//
// It knows no protocol: those are behind Driver, one package each.
package collect
