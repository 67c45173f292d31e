package reconcile

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

var noon = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// scene is a node of which one decision is looked at.
type scene struct {
	t       *testing.T
	desired map[string]state.Desired
	version uint64
	in      Input
	prev    Plan
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, desired: map[string]state.Desired{}, in: Input{
		Now: noon, Boot: "boot-1", Complete: true,
		Memory: map[string]Memory{}, Fetched: map[string]bool{}, Busy: map[string]Step{},
	}}
}

// want sets what the cloud says of an application; "" is no desired section.
func (s *scene) want(name, text string) *scene {
	s.t.Helper()
	s.version++
	d := state.Desired{Name: schema.AppPrefix + name, Version: s.version, DesiredVersion: s.version}
	if text != "" {
		v, err := shadow.Parse([]byte(text), shadow.Limits{})
		if err != nil {
			s.t.Fatal(err)
		}
		d.Value = v
	}
	s.desired[name] = d
	return s
}

func (s *scene) delete(name string) *scene {
	s.version++
	s.desired[name] = state.Desired{Name: schema.AppPrefix + name, Version: s.version, Deleted: true}
	return s
}

func (s *scene) fetched(components ...string) *scene {
	for _, c := range components {
		s.in.Fetched[c] = true
	}
	return s
}

// hash of what is wanted of an application now.
func (s *scene) hash(name string) string {
	return s.app(name).Hash
}

func (s *scene) app(name string) App {
	s.t.Helper()
	apps, _ := s.prepare()
	for _, a := range apps {
		if a.Name == name {
			return a
		}
	}
	s.t.Fatalf("%s is not wanted", name)
	return App{}
}

func (s *scene) prepare() ([]App, map[string]bool) { return Prepare(s.all(), s.in.Memory) }

func (s *scene) all() (all []state.Desired) {
	for _, d := range s.desired {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b state.Desired) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// observe replaces what is known of an instance.
func (s *scene) observe(st workload.Status) *scene {
	s.in.Observed = slices.DeleteFunc(slices.Clone(s.in.Observed), func(o workload.Status) bool { return o.Name == st.Name })
	if st.State != "" {
		s.in.Observed = append(s.in.Observed, st)
	}
	slices.SortFunc(s.in.Observed, func(a, b workload.Status) int { return strings.Compare(a.Name, b.Name) })
	return s
}

func (s *scene) observed(name string) workload.Status {
	for _, o := range s.in.Observed {
		if o.Name == name {
			return o
		}
	}
	return workload.Status{}
}

// runs lets an application run as it is wanted, as the outcome of a start.
func (s *scene) runs(name, instance string) *scene {
	s.t.Helper()
	a := s.app(name)
	st := workload.Status{Name: name, Instance: instance, Hash: a.Hash, State: workload.Running, StartedAt: s.in.Now, Mode: a.Want.Mode, Component: a.Want.Component}
	if a.Want.Mode == schema.ModeAttach {
		st.Target, st.TargetInstance = a.Want.AttachTo, s.observed(a.Want.AttachTo).Instance
	}
	s.in.Memory[name] = s.in.Memory[name].Started(st, a.Hash, s.in.Boot)
	return s.observe(st)
}

// ends lets an instance end by itself.
func (s *scene) ends(name string, code int) *scene {
	st := s.observed(name)
	st.State, st.ExitCode, st.ExitedAt = workload.Exited, code, s.in.Now
	return s.observe(st)
}

// lost is what a reboot or a killed shim leaves.
func (s *scene) lost(name string) *scene {
	st := s.observed(name)
	st.State, st.Error, st.ExitedAt = workload.Failed, "shim lost", s.in.Now
	return s.observe(st)
}

func (s *scene) pass(d time.Duration) *scene {
	s.in.Now = s.in.Now.Add(d)
	return s
}

// plan makes a plan and keeps its memory. It must always be the same one, and
// leave alone what it is made from.
func (s *scene) plan() Plan {
	s.t.Helper()
	s.in.Apps, s.in.Gone = s.prepare()
	before := deepCopy(s.in)
	p := Make(s.in)
	if again := Make(s.in); !reflect.DeepEqual(p, again) {
		s.t.Fatalf("two plans from the same input:\n%+v\n%+v", p, again)
	}
	if !reflect.DeepEqual(before, s.in) {
		s.t.Fatalf("the input was changed:\n%+v\n%+v", before, s.in)
	}
	s.in.Memory, s.prev = p.Memory, p
	return p
}

// steps checks the steps of the next plan, each written as "kind app".
func (s *scene) steps(want ...string) Plan {
	s.t.Helper()
	p := s.plan()
	got := stepNames(p)
	if !slices.Equal(got, want) {
		s.t.Fatalf("steps %q, want %q; views %+v", got, want, p.Views)
	}
	return p
}

func stepNames(p Plan) (all []string) {
	for _, st := range p.Steps {
		all = append(all, string(st.Kind)+" "+st.App)
	}
	return all
}

// phase checks what the last plan says of an application.
func (s *scene) phase(name string, want Phase) View {
	s.t.Helper()
	v, ok := s.prev.Views[name]
	if !ok || v.Phase != want {
		s.t.Fatalf("%s: %s (%v, %+v), want %s", name, v.Phase, v.Blockers, v.Fault, want)
	}
	return v
}

// faulty checks the code of the fault in the last view; "" is none.
func (s *scene) faulty(name, code string) *Fault {
	s.t.Helper()
	f := s.prev.Views[name].Fault
	if got := codeOf(f); got != code {
		s.t.Fatalf("%s: fault %q (%+v), want %q", name, got, f, code)
	}
	return f
}

func codeOf(f *Fault) string {
	if f == nil {
		return ""
	}
	return f.Code
}

// blocked checks that a blocker says text.
func (s *scene) blocked(name, text string) {
	s.t.Helper()
	if all := s.prev.Views[name].Blockers; !strings.Contains(strings.Join(all.Messages(), "\n"), text) {
		s.t.Fatalf("%s: blockers %q don't mention %q", name, all, text)
	}
}

// fails lets the step of an application in the last plan fail.
func (s *scene) fails(name string, f Fault) *scene {
	s.t.Helper()
	for _, st := range s.prev.Steps {
		if st.App == name {
			s.in.Memory[name] = s.in.Memory[name].FailedStep(st, f, "", s.in.Now)
			return s
		}
	}
	s.t.Fatalf("no step for %s", name)
	return s
}

// deepCopy copies whatever a plan could write to.
func deepCopy[T any](v T) T {
	return copyOf(reflect.ValueOf(v)).Interface().(T)
}

func copyOf(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !immutable(v.Type()) {
			c.Set(reflect.New(v.Type().Elem()))
			c.Elem().Set(copyOf(v.Elem()))
		}
	case reflect.Slice:
		if !v.IsNil() {
			c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
			for i := range v.Len() {
				c.Index(i).Set(copyOf(v.Index(i)))
			}
		}
	case reflect.Map:
		if !v.IsNil() {
			c.Set(reflect.MakeMap(v.Type()))
			for _, k := range v.MapKeys() {
				c.SetMapIndex(k, copyOf(v.MapIndex(k)))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				c.Field(i).Set(copyOf(v.Field(i)))
			}
		}
	}
	return c
}

// immutable types can't be written to from outside their package.
func immutable(t reflect.Type) bool {
	return t == reflect.TypeFor[*shadow.Value]() || t == reflect.TypeFor[*time.Location]()
}
