// Package q376 reads the meters of a station area (台区) through its central
// coordinator (CCO), as a concentrator does with Q/GDW 10376.2: several meters
// at once, DL/T 645-2007 and DL/T 698.45 carried to them, over a serial line or
// TCP.
//
// It promises that an answer is only ever taken for the request it answers: by
// its sequence, which isn't used again while a late answer may have it, by its
// meter, and by what the carried frames name. No more meters are in flight than
// the policy and the CCO allow; tries are bounded, and so is the time that one
// meter has, so that a dead one costs the others little. What the CCO denies for
// being too much, too long or too early is asked for again in smaller parts, or
// later. A CCO that restarts, falls silent or is cut off is noticed, and told
// again what it has to know: its archive, and that it is not to route by itself
// while a cycle runs.
//
// It writes nothing to meters. Of the CCO it changes the archive and whether it
// routes, nothing else.
package q376
