// Package replicas tests what several clouds on one Redis promise together, with
// real processes that are killed: replicas, a Redis, the masters of a Cluster,
// whose slots are moved and subscriptions cut, too. TestExperiment does all of it
// to one deployment and reports how long convergence took. It promises to end
// every process it started. It holds tests alone and exports nothing.
package replicas
