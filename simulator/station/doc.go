// Package station simulates a station area (台区): up to a thousand meters that
// speak DL/T 645-2007 or DL/T 698.45, in a tree of power line nodes, and the
// central coordinator (CCO) through which a concentrator reads them with Q/GDW
// 10376.2. It is for trying the real master on: over TCP, on a serial line, or
// in virtual time.
//
// It promises what real modules do to their masters: answers that take a time for
// every hop and every meter frame, that get lost, that come in another order than
// the requests; denials at the limits of the standard; meters that are dead for
// a while or whose clock is wrong; a CCO that restarts, and one that misbehaves
// on demand. Meters keep records of what they measured: DL/T 645 load records and
// freezes of DL/T 698.45, also of times in which nobody could reach them. What is random follows from a seed. The values of every meter follow
// from its number and the time alone, so that a test knows each.
//
// The time in the area is an argument, and may run faster than ours; how long
// anything takes on the lines doesn't depend on it. It never knows what the
// master does beyond the frames it gets.
package station
