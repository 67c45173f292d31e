package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"gnomon/edge/state"
	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

// App is one application as it is wanted.
type App struct {
	Name    string
	Version uint64              // the desired version
	Desired *shadow.Value       // as the cloud gave it
	Want    *schema.Application // nil: nothing that could be run
	Hash    string              // of what the instance runs with; another one means another instance
	Content string              // of the same in Desired alone, whatever others add to it; "" when that is refused
	Whole   string              // of all of Desired that can make it fail: that, its probe, how it is restarted; "" likewise
	Good    *schema.Application // committed before; nil: Content is it, or there is none
	Fault   *Fault              // what is wrong with Desired
	Held    bool                // because of it: nothing is started or replaced
	LastOK  bool                // because of it: Want is what was applied before

	stays  bool     // Held, as Desired failed beside the instance that goes on
	back   bool     // LastOK, as Desired was tried and failed: Want is Good
	shaped []string // applications that are attached and add to what the container is made of
}

// Prepare reads the desired sections of applications. Where one can't be read,
// what was applied before stays wanted.
func Prepare(desired []state.Desired, memory map[string]Memory) (apps []App, gone map[string]bool) {
	gone = map[string]bool{}
	for _, d := range desired {
		kind, name := schema.KindOf(d.Name)
		if kind != schema.KindApplication {
			continue
		}
		if d.Deleted {
			gone[name] = true
			continue
		}
		apps = append(apps, prepare(name, d, memory[name]))
	}
	slices.SortFunc(apps, func(a, b App) int { return strings.Compare(a.Name, b.Name) })
	s := set(apps)
	for i := range apps {
		s.check(&apps[i])
		apps[i].setBack(memory[apps[i].Name])
	}
	for i := range apps { // only now: which ones are refused must not hang on their order
		apps[i].fallBack(memory[apps[i].Name])
	}
	for s.refuseStuck(memory) {
	}
	s.rebuild(memory)
	s.free()
	for i := range apps {
		if apps[i].Want != nil {
			apps[i].Hash = hashOf(apps[i].Want)
		}
	}
	return apps, gone
}

func prepare(name string, d state.Desired, m Memory) App {
	a := App{Name: name, Version: d.DesiredVersion, Desired: d.Value}
	if d.Value == nil { // an application without desired state shall do nothing
		a.Desired = shadow.NewObject()
		a.Want = &schema.Application{State: schema.StateStopped}
		a.Want.Run.StopGrace = schema.Duration(workload.DefaultStopGrace)
		a.Content = hashOf(a.Want)
		return a
	}
	want, err := schema.ParseApplication(d.Value.AppendJSON(nil))
	if err == nil {
		a.Want, a.Content, a.Whole = want, hashOf(want), wholeOf(want)
		return a
	}
	a.refuse("invalid", err.Error())
	a.fallBack(m)
	return a
}

func (a *App) refuse(code, message string) {
	a.Fault, a.Held = &Fault{Code: code, Message: clip(message)}, true
}

// fallBack makes what was applied last wanted, where desired is refused.
func (a *App) fallBack(m Memory) {
	switch {
	case !a.Held || a.LastOK || a.stays:
		return
	case a.back:
		a.Want, a.Held, a.LastOK = a.Good, false, true
		return
	case m.Applied.Desired == nil:
		return
	}
	if want, err := schema.ParseApplication(m.Applied.Desired.AppendJSON(nil)); err == nil {
		a.Want, a.Held, a.LastOK = want, false, true
	}
}

// apps by name, to follow their references.
type appSet map[string]*App

func set(apps []App) appSet {
	s := make(appSet, len(apps))
	for i := range apps {
		s[apps[i].Name] = &apps[i]
	}
	return s
}

// check finds what only shows between applications.
func (s appSet) check(a *App) {
	if a.Want == nil || a.Fault != nil || a.Want.State == schema.StateStopped {
		return // what shall not run needs nothing
	}
	if t := s[a.Want.AttachTo]; a.Want.Mode == schema.ModeAttach && t != nil && t.Want != nil && t.Want.Mode != schema.ModeContainer && t.Want.Mode != "" {
		a.refuse("target-invalid", fmt.Sprintf("attachTo: %s runs in mode %s; only a container can be joined", t.Name, t.Want.Mode))
		return
	}
	if path := s.cycle(a, s.needs); path != nil {
		a.refuse(codeCycle, "dependsOn and attachTo lead back to the application: "+strings.Join(path, " → "))
	}
}

// codeCycle is the fault of an application that would wait for itself.
const codeCycle = "dependency-cycle"

// refuseStuck refuses what would wait for itself by the containers that others go on
// in, their desired being refused. Where that puts something else in force, there may
// be more: again.
func (s appSet) refuseStuck(memory map[string]Memory) (again bool) {
	stuck := map[*App][]string{}
	for _, a := range s {
		if a.Want == nil || a.Fault != nil || a.Want.State == schema.StateStopped {
			continue
		}
		if path := s.cycle(a, s.bound); path != nil {
			stuck[a] = path
		}
	}
	for a, path := range stuck { // only now, so that it doesn't hang on their order
		a.refuse(codeCycle, "dependsOn and attachTo lead back to the application, by what goes on of others that are refused: "+strings.Join(path, " → "))
		a.fallBack(memory[a.Name])
	}
	return len(stuck) > 0
}

// free lets what was applied before wait for nobody, where it would wait for itself
// by what others want now.
func (s appSet) free() {
	var stuck []*App
	for _, a := range s {
		if a.LastOK && len(a.Want.DependsOn) > 0 && s.cycle(a, s.needs) != nil {
			stuck = append(stuck, a)
		}
	}
	for _, a := range stuck { // only now, so that it doesn't hang on their order
		want := *a.Want
		want.DependsOn, a.Want = nil, &want
	}
}

// cycle is the way from an application back to itself; nil if there is none.
func (s appSet) cycle(a *App, refersTo func(name string) []string) []string {
	return way(a.Name, a.Name, refersTo, map[string]bool{})
}

// way follows references from an application to another. Those in seen are
// known not to lead there.
func way(from, to string, refersTo func(name string) []string, seen map[string]bool) []string {
	seen[from] = true
	for _, n := range refersTo(from) {
		if n == to {
			return []string{from, to}
		}
		if seen[n] {
			continue
		}
		if rest := way(n, to, refersTo, seen); rest != nil {
			return append([]string{from}, rest...)
		}
	}
	return nil
}

// needs lists what an application refers to.
func (s appSet) needs(name string) []string {
	a := s[name]
	switch {
	case a == nil || a.Want == nil:
		return nil
	case a.Want.Mode == schema.ModeAttach:
		return append([]string{a.Want.AttachTo}, a.Want.DependsOn...)
	default:
		return a.Want.DependsOn
	}
}

// bound lists what it can't be freed from: what was applied before still needs its
// container, while it may wait for nobody.
func (s appSet) bound(name string) []string {
	if a := s[name]; a != nil && a.LastOK && a.Want.Mode == schema.ModeAttach {
		return []string{a.Want.AttachTo}
	} else if a != nil && a.LastOK {
		return nil
	}
	return s.needs(name)
}

// rebuild moves the options of attached applications that shape a container into
// the container's own configuration, which is how they take effect.
func (s appSet) rebuild(memory map[string]Memory) {
	names := make([]string, 0, len(s))
	for n := range s {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		a := s[n]
		if s.merge(a) || a.LastOK {
			continue
		}
		if a.fallBack(memory[n]); a.LastOK {
			s.merge(a)
		}
	}
}

// merge moves the options of one application; false: they contradict others.
func (s appSet) merge(a *App) bool {
	if a.Want == nil || a.Want.Mode != schema.ModeAttach || a.Held || a.Want.State != schema.StateRunning {
		return true
	}
	own := *a.Want
	own.Run.Hostname, own.Run.Privileged, own.Run.Serial, own.Run.Ports = "", false, nil, nil
	t := s[a.Want.AttachTo]
	if t == nil || t.Want == nil || t.Want.Mode != schema.ModeContainer {
		a.Want = &own // of what runs already they don't make something else
		return true
	}
	run, merged := a.Want.Run, *t.Want
	var conflict string
	switch {
	case run.Hostname != "" && merged.Run.Hostname != "" && run.Hostname != merged.Run.Hostname:
		conflict = fmt.Sprintf("run.hostname: %q here, %q in %s whose container is joined", run.Hostname, merged.Run.Hostname, t.Name)
	case run.Privileged && merged.Run.UserNamespace == schema.UserNamespaceAuto:
		conflict = fmt.Sprintf("run.privileged here, run.userNamespace auto in %s whose container is joined: they exclude each other", t.Name)
	}
	if conflict != "" {
		if a.Fault == nil { // else there is a reason already why this isn't what desired says
			a.refuse("conflict", conflict)
		}
		a.Held = true
		return false
	}
	if run.Hostname != "" {
		merged.Run.Hostname = run.Hostname
	}
	merged.Run.Privileged = merged.Run.Privileged || run.Privileged
	merged.Run.Serial = union(merged.Run.Serial, run.Serial)
	merged.Run.Ports = union(merged.Run.Ports, run.Ports)
	if hashOf(&merged) != hashOf(t.Want) {
		t.shaped = append(t.shaped, a.Name)
	}
	a.Want, t.Want = &own, &merged
	return true
}

func union[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, v := range b {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// hashOf identifies what an instance runs with. What only concerns how it is
// looked after is left out: changing that must not disturb it.
func hashOf(want *schema.Application) string {
	w := *want
	w.State, w.DependsOn, w.Update = "", nil, schema.Update{}
	r := &w.Run
	r.Restart, r.StopGrace, r.Health, r.Resources.Disk = schema.Restart{}, 0, nil, 0
	if len(r.Env) == 0 { // to add nothing is as good as not to mention it
		r.Env = nil
	}
	r.Command, r.Args, r.Files, r.Ports, r.Serial = some(r.Command), some(r.Args), some(r.Files), some(r.Ports), some(r.Serial)
	r.Devices, r.Volumes = some(r.Devices), some(r.Volumes)
	if k := r.Capabilities; k != nil {
		r.Capabilities = &schema.Capabilities{Add: some(k.Add), Drop: some(k.Drop)}
	}
	if d := r.DNS; d != nil {
		r.DNS = &schema.DNS{Servers: some(d.Servers), Search: some(d.Search)}
	}
	if r.UserNamespace == schema.UserNamespaceHost { // as if nothing were said
		r.UserNamespace = ""
	}
	if r.Reload == "" {
		return digest(w)
	}
	r.Reload = ""
	content := make([]string, len(r.Files))
	r.Files = slices.Clone(r.Files)
	for i := range r.Files {
		content[i], r.Files[i].Content = r.Files[i].Content, ""
	}
	return digest(w) + reloadable + digest(content)
}

// wholeOf identifies what was tried: what an instance runs with, and how it is
// looked after.
func wholeOf(want *schema.Application) string {
	return digest(struct {
		Runs    string          `json:"runs"`
		Restart schema.Restart  `json:"restart"`
		Update  schema.Update   `json:"update"`
		Health  *schema.Health  `json:"health"`
		Grace   schema.Duration `json:"grace"`
	}{hashOf(want), want.Run.Restart, want.Update, want.Run.Health, want.Run.StopGrace})
}

func digest(v any) string {
	text, err := json.Marshal(canonical(reflect.ValueOf(v)))
	if err != nil {
		panic("reconcile: an application that is no JSON: " + err.Error()) // it was parsed from JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

func some[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// canonical leaves out the members of structures that have no value, so that
// every instance keeps its hash when an agent comes that knows another member.
func canonical(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		members := map[string]any{}
		for i := range v.NumField() {
			if f := v.Field(i); !f.IsZero() {
				members[v.Type().Field(i).Tag.Get("json")] = canonical(f)
			}
		}
		return members
	case reflect.Slice:
		elems := make([]any, v.Len())
		for i := range elems {
			elems[i] = canonical(v.Index(i))
		}
		return elems
	default:
		return v.Interface()
	}
}

// clip bounds a message that goes into a report.
func clip(s string) string {
	const most = 600
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
