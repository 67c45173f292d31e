// Package replicas tests what several clouds on one Redis promise together, with
// real processes that are killed: replicas, a Redis, the masters of a Cluster.
// It promises to end every process it started. It holds tests alone and exports
// nothing.
package replicas
