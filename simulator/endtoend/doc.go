// Package endtoend tests the promises that only the whole can keep: the real
// cloud, real agents, real workloads and a meter that isn't ours, as processes
// that are killed; and that the commands of README.md do what is printed below them.
// It promises to end every process it started. It holds tests alone and exports
// nothing.
package endtoend
