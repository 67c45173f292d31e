// Package alarm decides when an alarm is raised and when it is cleared.
//
// It promises that
//
//   - an alarm is raised once for each time its value goes above the upper level
//     and stays there for as long as is asked, and cleared once, when it is at
//     the lower level or below: between the two nothing changes;
//   - a value that is not known changes nothing: what is raised stays raised, and
//     what was about to be starts over;
//   - what is raised, and the last MaxEnded that were, can be written down and
//     read back, so that a restart neither loses nor repeats one.
//
// It is pure: the time and the values are arguments. It measures nothing, acts on
// nothing and writes nothing.
package alarm
