package reconcile

import (
	"slices"
	"strings"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// Input is everything a plan is made from.
type Input struct {
	Now      time.Time
	Boot     string // identifies this run of the node's kernel
	Complete bool   // what runs and isn't wanted is to be removed; before, it may only have been forgotten
	Apps     []App  // by name
	Gone     map[string]bool
	Observed []workload.Status
	Memory   map[string]Memory // by application
	Fetched  map[string]bool   // components that are ready to run from
	Busy     map[string]Step   // steps under way
	Holds    Holds             // what the node itself has against it
	Health   map[string]Health // what probes say, by instance; those nothing is said of are starting
	Room     Room              // for a second instance beside one that runs
	Restart  map[string]string // instances to be replaced by others just like them, by application; "": none that runs
}

// Plan is what to do now, what to say, and when to look again.
type Plan struct {
	Steps  []Step            // at most one per application, none for busy ones
	Cancel []string          // applications whose step under way has become pointless
	Views  map[string]View   // of every wanted application
	Memory map[string]Memory // replaces Input.Memory
	Gone   []string          // deleted applications of which nothing is left
	Wake   time.Time         // look again then, if nothing happens before; zero: no need

	again bool // a run configuration was rejected, so that something else is wanted: see Decide
}

// StepKind is what a step does.
type StepKind string

// The steps.
const (
	Fetch  StepKind = "fetch"  // make the component ready to run from
	Start  StepKind = "start"  // a new instance
	Reload StepKind = "reload" // other content of files for the instance, which goes on
	Stop   StepKind = "stop"   // end the instance
	Remove StepKind = "remove" // end it and delete what belongs to it

	Retire   StepKind = "retire"   // end the former of two instances, as the other has taken over
	Withdraw StepKind = "withdraw" // end the one of two instances that was to take over
)

// Step is one thing to do about one application.
type Step struct {
	Kind           StepKind
	App            string
	Hash           string // of the run configuration it is for
	Component      string // Fetch
	TargetInstance string // Start, attached
	Former         string // Start: the instance that runs meanwhile, to be taken over from; "" = none
	Instance       string // Retire, Withdraw: the one of two
	Grace          time.Duration
	Reason         string // for people

	// Of one under way, from who carries it out.
	Done, Total int64 // Fetch: bytes, as far as that is known
	Overdue     bool  // it takes longer than it may
}

// Phase is how far an application has come.
type Phase string

// The phases.
const (
	Pending  Phase = "pending"
	Fetching Phase = "fetching"
	Starting Phase = "starting"
	Running  Phase = "running"
	Stopping Phase = "stopping"
	Stopped  Phase = "stopped"
	Backoff  Phase = "backoff"
	Failed   Phase = "failed"
)

// View is what can be said of an application.
type View struct {
	Phase    Phase
	Blockers schema.Blockers // why it isn't where it shall be, though nothing is wrong
	Health   Health          // of the instance that runs, if it has a probe
	Fault    *Fault
	Observed uint64 // the desired version whose outcome this is
	Status   workload.Status
	Next     *workload.Status // the instance that is to take over, beside that of Status
	Memory   Memory

	why string // it is stopped
}

// planner holds one plan in the making.
type planner struct {
	in       Input
	out      Plan
	wanted   map[string]*App
	observed map[string]workload.Status
	leaving  map[string]bool // containers that are about to go
	waits    []wait
	blamed   map[string]Rejected // applications for what they add to a container
}

// Make plans. It is pure: the same input gives the same plan.
func Make(in Input) Plan {
	p := &planner{
		in:       in,
		out:      Plan{Views: make(map[string]View, len(in.Apps)), Memory: make(map[string]Memory, len(in.Memory))},
		wanted:   make(map[string]*App, len(in.Apps)),
		observed: make(map[string]workload.Status, len(in.Observed)),
		leaving:  map[string]bool{},
		blamed:   map[string]Rejected{},
	}
	for _, s := range in.Observed {
		p.observed[s.Name] = s
	}
	for i := range in.Apps {
		p.wanted[in.Apps[i].Name] = &in.Apps[i]
	}
	for i := range in.Apps {
		p.remember(&in.Apps[i])
	}
	for name, r := range p.blamed {
		m := p.out.Memory[name]
		m.Rejected = r
		p.out.Memory[name] = m
	}
	for r := first; r <= last; r++ {
		if r == last {
			p.unwanted()
		}
		for i := range in.Apps {
			if a := &in.Apps[i]; p.rank(a) == r {
				p.app(a)
			}
		}
	}
	p.explain()
	p.forget()
	slices.Sort(p.out.Cancel)
	slices.SortFunc(p.out.Steps, func(a, b Step) int { return strings.Compare(a.App, b.App) })
	return p.out
}

// Whether a container is about to go is decided before what becomes of those
// that are in it or shall join it; one that shall join another itself between.
const (
	first = iota
	between
	last
)

func (p *planner) rank(a *App) int {
	st := p.observed[a.Name]
	live, joins := st.State.Live(), a.Want != nil && a.Want.Mode == schema.ModeAttach
	switch {
	case live && st.Target != "", !live && joins:
		return last
	case joins:
		return between
	default:
		return first
	}
}

func (p *planner) step(s Step) { p.out.Steps = append(p.out.Steps, s) }

// wake makes sure that the plan is looked at again by t.
func (p *planner) wake(t time.Time) {
	if p.out.Wake.IsZero() || t.Before(p.out.Wake) {
		p.out.Wake = t
	}
}

// unwanted removes what nobody wants, containers before what is attached to them.
func (p *planner) unwanted() {
	for _, attached := range []bool{false, true} {
		for _, st := range p.in.Observed {
			if p.wanted[st.Name] == nil && (st.Target != "") == attached {
				p.dismiss(st)
			}
		}
	}
	for name := range p.in.Busy { // with what isn't there yet
		if _, there := p.observed[name]; !there && p.wanted[name] == nil && p.dismissed(name) {
			p.cancel(name, "")
		}
	}
}

// dismissed tells of an unwanted application whether it may be removed.
func (p *planner) dismissed(name string) bool { return p.in.Gone[name] || p.in.Complete }

// dismiss removes what nobody wants. Where something is attached to it, that is
// stopped first: it would not survive, and so at least it is asked to end. The
// same holds for what is only left alone otherwise.
func (p *planner) dismiss(st workload.Status) {
	name := st.Name
	m, known := p.in.Memory[name]
	m = m.within(p.in.Now, longestPause)
	if known {
		p.out.Memory[name] = m
	}
	switch {
	case p.dismissed(name):
		p.leaving[name] = true
	case st.State.Live() && st.Next != nil && !p.leaving[st.Target]: // what will be wanted isn't known
		if _, busy := p.in.Busy[name]; !busy {
			m.Withdrawn = st.Next.Instance
			p.out.Memory[name] = m
			p.step(Step{Kind: Withdraw, App: name, Hash: st.Next.Hash, Instance: st.Next.Instance, Grace: workload.DefaultStopGrace,
				Reason: "nothing is known of what it was to take the place of"})
		}
		return
	case !st.State.Live() || !p.leaving[st.Target]:
		return
	}
	if _, busy := p.in.Busy[name]; busy {
		p.cancel(name, "")
		return
	}
	if m.cannotStop() && m.Until.After(p.in.Now) {
		p.wake(m.Until)
		return
	}
	if !p.dismissed(name) {
		m.Halted = st.Instance
		p.out.Memory[name] = m
		p.step(Step{Kind: Stop, App: name, Hash: st.Hash, Grace: workload.DefaultStopGrace, Reason: "the container that it is in ends"})
	} else if len(p.attachedTo(name)) == 0 {
		p.step(Step{Kind: Remove, App: name, Reason: "it isn't wanted any more"})
	}
}

// attachedTo lists the instances within a container that can still be waited
// for, and those that are about to join it.
func (p *planner) attachedTo(name string) (all []string) {
	for _, st := range p.in.Observed {
		if st.Target == name && st.State.Live() && st.Name != name && !p.in.Memory[st.Name].cannotStop() {
			all = append(all, st.Name)
		}
	}
	instance := p.observed[name].Instance
	for n, b := range p.in.Busy {
		if b.Kind == Start && instance != "" && b.TargetInstance == instance && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// cancel gives up a fetch of something else than what is needed now.
func (p *planner) cancel(name, component string) {
	if b := p.in.Busy[name]; b.Kind == Fetch && b.Component != component {
		p.out.Cancel = append(p.out.Cancel, name)
	}
}

// forget lists the deleted applications of which nothing is left.
func (p *planner) forget() {
	for name := range p.in.Gone {
		_, there := p.observed[name]
		_, busy := p.in.Busy[name]
		if !there && !busy && p.wanted[name] == nil {
			p.out.Gone = append(p.out.Gone, name)
		}
	}
	slices.Sort(p.out.Gone)
}
