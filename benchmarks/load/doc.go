// Package load makes requests as fast as a server answers them, from as many
// connections and with as many unanswered requests as asked for. It costs as
// little as it can, since it shares the machine with what it measures: requests
// are encoded once and only their counters change.
//
// It measures every server in the same way and never repeats a request.
package load
