// Package readiness says whether a node could go on without its cloud: start again
// after a power cut, with no network, from what is on its own disk.
//
// It promises a level and a sentence for each thing that autonomy needs, worked out
// before the outage and not during it. The sentences change only when something
// does, so that reporting them costs nothing while nothing happens.
//
// Assess is pure. Clock and Startup look at the node itself. The package changes
// nothing and repairs nothing.
package readiness
