package loop

import (
	"slices"

	"gnomon/edge/reconcile"
	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

// Health watches over what the node and its applications use.
type Health interface {
	// Wanted is told what is wanted and what runs, before each plan, and returns
	// what the node has against it.
	Wanted(w Wanted) reconcile.Holds
	// Changed signals that another pass would hear or report something else.
	Changed() <-chan struct{}
	// Application and Node are members of what is reported of them.
	Application(name string) []shadow.Member
	Node() []shadow.Member
}

// Wanted is what a pass knows.
type Wanted struct {
	Node       *schema.Node // as it is desired; the one before if that is invalid
	Apps       []reconcile.App
	Observed   []workload.Status
	Components []string // references of what is or may be run from: what is wanted, was applied or committed last, or is being made ready
	Complete   bool     // that is all: the cloud has said so since this start
	Policies   []string // names of the policies that are wanted
}

// healthy is the Health of a node that nobody watches over.
type healthy struct{}

func (healthy) Wanted(Wanted) reconcile.Holds      { return reconcile.Holds{} }
func (healthy) Changed() <-chan struct{}           { return nil }
func (healthy) Application(string) []shadow.Member { return nil }
func (healthy) Node() []shadow.Member              { return nil }

// defaultNode is a node of which nothing is desired.
func defaultNode() *schema.Node {
	n, err := schema.ParseNode([]byte("{}"))
	if err != nil {
		panic("loop: the defaults of a node are invalid: " + err.Error())
	}
	return n
}

// look tells Health what is wanted and asks what is against it.
func (l *Loop) look(desired []state.Desired, complete bool, apps []reconcile.App, observed []workload.Status) reconcile.Holds {
	for _, d := range desired {
		if d.Name != "" {
			continue
		}
		if v := d.Value.Get(schema.NodeMember); v == nil {
			l.node = defaultNode()
		} else if n, err := schema.ParseNode(v.AppendJSON(nil)); err == nil {
			l.node = n
		}
	}
	w := Wanted{Node: l.node, Complete: complete, Apps: apps, Observed: observed, Components: l.components(apps, observed)}
	for _, d := range desired {
		if kind, name := schema.KindOf(d.Name); kind == schema.KindPolicy && !d.Deleted {
			w.Policies = append(w.Policies, name)
		}
	}
	return l.cfg.Health.Wanted(w)
}

// components lists the references that may be needed without the cloud: what is
// desired, even of what is stopped, what was applied and committed last, what
// runs, and what is under way.
func (l *Loop) components(apps []reconcile.App, observed []workload.Status) []string {
	all := reconcile.Components(apps, observed)
	add := func(reference string) {
		if reference != "" {
			all = append(all, reference)
		}
	}
	for i := range apps {
		a := &apps[i]
		add(a.Desired.Get("component").Text())
		add(l.memory[a.Name].Applied.Desired.Get("component").Text())
	}
	for _, u := range l.busy {
		add(u.component)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
