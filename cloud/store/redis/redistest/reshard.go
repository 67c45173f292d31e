package redistest

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// do is Do for what must work.
func (s *Server) do(args ...string) string {
	s.t.Helper()
	answer := s.Do(args...)
	if strings.HasPrefix(answer, "error") || strings.HasPrefix(answer, "ERR") {
		s.t.Fatalf("redis-server %d: %v: %s", s.Port, args, answer)
	}
	return answer
}

// ID is the name of a member of a cluster.
func (s *Server) ID() string { s.t.Helper(); return s.do("CLUSTER", "MYID") }

// Slot returns the slot of a key.
func (c *Cluster) Slot(key string) int {
	c.t.Helper()
	n, err := strconv.Atoi(c.Servers[0].do("CLUSTER", "KEYSLOT", key))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// Owner returns the master that has a slot.
func (c *Cluster) Owner(slot int) *Server {
	c.t.Helper()
	for _, m := range c.Masters() {
		for line := range strings.Lines(m.do("CLUSTER", "NODES")) {
			if !strings.Contains(line, "myself") {
				continue
			}
			for _, span := range strings.Fields(line)[8:] {
				first, last, _ := strings.Cut(span, "-")
				low, err := strconv.Atoi(first)
				if err != nil {
					continue // one that moves
				}
				high := low
				if last != "" {
					high, _ = strconv.Atoi(last)
				}
				if low <= slot && slot <= high {
					return m
				}
			}
		}
	}
	c.t.Fatalf("nobody has slot %d", slot)
	return nil
}

// Move moves a slot to another master, step by step: between is called when half
// of its keys, rounded down, have gone.
func (c *Cluster) Move(slot int, to *Server, between func()) {
	c.t.Helper()
	from, number := c.Owner(slot), strconv.Itoa(slot)
	to.do("CLUSTER", "SETSLOT", number, "IMPORTING", from.ID())
	from.do("CLUSTER", "SETSLOT", number, "MIGRATING", to.ID())
	keys := strings.Fields(from.do("CLUSTER", "GETKEYSINSLOT", number, "100000"))
	migrate := func(keys []string) {
		if len(keys) > 0 {
			args := append([]string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.Port), "", "0", "5000", "KEYS"}, keys...)
			from.do(args...)
		}
	}
	migrate(keys[:len(keys)/2])
	between()
	for rest := keys; len(rest) > 0; { // some are new since
		rest = strings.Fields(from.do("CLUSTER", "GETKEYSINSLOT", number, "100000"))
		migrate(rest)
	}
	to.do("CLUSTER", "SETSLOT", number, "NODE", to.ID())
	for _, m := range c.Masters() {
		if m != to { // who would drop its new subscribers
			m.do("CLUSTER", "SETSLOT", number, "NODE", to.ID())
		}
	}
}

// Reshard has redis-cli move a number of slots from one master to another, as
// operators do.
func (c *Cluster) Reshard(from, to *Server, slots int) error {
	args := append(c.secure.cli(false), "--cluster", "reshard", from.Address(), "--cluster-from", from.ID(), "--cluster-to", to.ID(),
		"--cluster-slots", strconv.Itoa(slots), "--cluster-pipeline", "100", "--cluster-yes")
	if out, err := exec.Command(tool(c.t, cliProgram), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("redis-cli %v: %w: %s", args, err, out[max(0, len(out)-1000):])
	}
	return nil
}

// AwaitSlots waits until all members agree about all slots.
func (c *Cluster) AwaitSlots() {
	c.t.Helper()
	for _, s := range c.Servers {
		s.await("CLUSTER INFO", func(answer string) bool {
			return strings.Contains(answer, "cluster_state:ok") && strings.Contains(answer, "cluster_slots_ok:16384")
		})
	}
}
