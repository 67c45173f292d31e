// Package health watches over a node while the loop brings it where it shall be:
// it measures what the node and its applications use, raises and clears alarms,
// says what the node has against what is desired, and makes members of reports
// of all that.
//
// It promises that
//
//   - nothing here needs the cloud, and what is raised survives a restart;
//   - measuring is bounded: small files of the kernel at an interval, and directory
//     trees rarely, slowly and up to a number of files;
//   - reports change only with what matters: use by more than a dead band and not
//     more often than is asked, alarms when they are raised or cleared;
//   - a disk that cannot be written costs no alarm: it is raised in memory, told,
//     and written down when that is possible again.
//
// It never stops, starts or deletes anything itself: it says what should be, and
// the planner decides.
package health
