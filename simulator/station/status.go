package station

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// Status is what has happened so far.
type Status struct {
	Meters    int          `json:"meters"`
	Dead      int          `json:"dead"`      // now
	Archive   int          `json:"archive"`   // meters the CCO was told
	Routing   bool         `json:"routing"`   // otherwise paused
	Attached  int          `json:"attached"`  // how often a concentrator came
	Restarts  int          `json:"restarts"`  // of the CCO
	Requests  int          `json:"requests"`  // frames that were understood
	Garbled   int          `json:"garbled"`   // and those that weren't
	Reads     int          `json:"reads"`     // concurrent reads begun
	OnDemand  int          `json:"onDemand"`  // reads of one meter ahead of them
	Answered  int          `json:"answered"`  // reads answered with values
	Failed    int          `json:"failed"`    // reads that were given up
	Lost      int          `json:"lost"`      // requests or answers on the power line
	Frames    int          `json:"frames"`    // meter frames that reached a meter
	Denied    map[byte]int `json:"denied"`    // by code
	InFlight  int          `json:"inFlight"`  // meters being read now
	Most      int          `json:"most"`      // meters read at once, at the most
	Dropped   int          `json:"dropped"`   // answers that nobody took off the line
	Unread    int          `json:"unread"`    // meters without an answer so far
	Deepest   int          `json:"deepest"`   // hops to the farthest meter
	Confirmed int          `json:"confirmed"` // reports that the concentrator confirmed

	reports int // that the CCO has made
}

// count changes the status.
func (s *Station) count(change func(*Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.status)
}

// Status tells what has happened so far.
func (s *Station) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.status
	out.Denied = maps.Clone(s.status.Denied)
	out.Meters, out.Archive, out.Routing, out.InFlight = len(s.meters), len(s.archive), s.routing, len(s.busy)
	for _, m := range s.meters {
		if s.Dead(m) {
			out.Dead++
		}
		if s.perRead[m.Address].ok == 0 {
			out.Unread++
		}
		out.Deepest = max(out.Deepest, m.Hops)
	}
	return out
}

// WriteText writes the status for people.
func (t Status) WriteText(w io.Writer) {
	fmt.Fprintf(w, "meters %d (dead %d, unread %d, deepest %d hops), archive %d, routing %v\n", t.Meters, t.Dead, t.Unread, t.Deepest, t.Archive, t.Routing)
	fmt.Fprintf(w, "requests %d (garbled %d), reads %d, on demand %d: answered %d, failed %d\n", t.Requests, t.Garbled, t.Reads, t.OnDemand, t.Answered, t.Failed)
	fmt.Fprintf(w, "meter frames %d, lost %d; in flight %d, at the most %d; attached %d times, restarts %d\n", t.Frames, t.Lost, t.InFlight, t.Most, t.Attached, t.Restarts)
	for _, code := range slices.Sorted(maps.Keys(t.Denied)) {
		fmt.Fprintf(w, "denied %d times with code %d\n", t.Denied[code], code)
	}
}
