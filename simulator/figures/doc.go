// Package figures turns measurements into figures that can be recorded:
// percentiles of durations, what a process used, and what machine, with how
// much of it stolen by its host, they were taken on. It never measures by
// itself.
package figures
