package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
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
	Fault   *Fault              // what is wrong with Desired
	Held    bool                // because of it: nothing is started or replaced
	LastOK  bool                // because of it: Want is what was applied before
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
	}
	s.rebuild()
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
		return a
	}
	want, err := schema.ParseApplication(d.Value.AppendJSON(nil))
	if err == nil {
		a.Want = want
		return a
	}
	a.Fault = &Fault{Code: "invalid", Message: clip(err.Error())}
	a.Held = true
	if m.Applied.Desired != nil {
		if a.Want, err = schema.ParseApplication(m.Applied.Desired.AppendJSON(nil)); err == nil {
			a.Held, a.LastOK = false, true
		}
	}
	return a
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
	if a.Want == nil || a.Fault != nil {
		return
	}
	if t := s[a.Want.AttachTo]; a.Want.Mode == schema.ModeAttach && t != nil && t.Want != nil && t.Want.Mode != schema.ModeContainer && t.Want.Mode != "" {
		a.refuse("target-invalid", fmt.Sprintf("attachTo: %s runs in mode %s; only a container can be joined", t.Name, t.Want.Mode))
		return
	}
	if path := s.cycle(a.Name, []string{a.Name}); path != nil {
		a.refuse("dependency-cycle", "dependsOn and attachTo lead back to the application: "+strings.Join(path, " → "))
	}
}

func (a *App) refuse(code, message string) {
	a.Fault, a.Held = &Fault{Code: code, Message: clip(message)}, true
}

// cycle returns a way from the last of path back to start.
func (s appSet) cycle(start string, path []string) []string {
	a := s[path[len(path)-1]]
	if a == nil || a.Want == nil {
		return nil
	}
	needs := a.Want.DependsOn
	if a.Want.Mode == schema.ModeAttach {
		needs = append(slices.Clone(needs), a.Want.AttachTo)
	}
	for _, n := range needs {
		if n == start {
			return append(path, n)
		}
		if !slices.Contains(path, n) {
			if found := s.cycle(start, append(slices.Clone(path), n)); found != nil {
				return found
			}
		}
	}
	return nil
}

// rebuild moves the options of attached applications that shape a container into
// the container's own configuration, which is how they take effect.
func (s appSet) rebuild() {
	names := make([]string, 0, len(s))
	for n := range s {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		a := s[n]
		if a.Want == nil || a.Want.Mode != schema.ModeAttach || a.Held || a.Want.State != schema.StateRunning {
			continue
		}
		t := s[a.Want.AttachTo]
		if t == nil || t.Want == nil || t.Want.Mode != schema.ModeContainer {
			continue
		}
		own, merged := *a.Want, *t.Want
		if own.Run.Hostname != "" && merged.Run.Hostname != "" && own.Run.Hostname != merged.Run.Hostname {
			a.refuse("conflict", fmt.Sprintf("run.hostname: %q here, %q in %s whose container is joined", own.Run.Hostname, merged.Run.Hostname, t.Name))
			continue
		}
		if own.Run.Hostname != "" {
			merged.Run.Hostname = own.Run.Hostname
		}
		merged.Run.Privileged = merged.Run.Privileged || own.Run.Privileged
		merged.Run.Serial = union(merged.Run.Serial, own.Run.Serial)
		merged.Run.Ports = union(merged.Run.Ports, own.Run.Ports)
		own.Run.Hostname, own.Run.Privileged, own.Run.Serial, own.Run.Ports = "", false, nil, nil
		a.Want, t.Want = &own, &merged
	}
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
	w.State, w.DependsOn = "", nil
	w.Run.Restart, w.Run.StopGrace, w.Run.Health = schema.Restart{}, 0, nil
	text, err := json.Marshal(w)
	if err != nil {
		panic("reconcile: an application that is no JSON: " + err.Error()) // it was parsed from JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// clip bounds a message that goes into a report.
func clip(s string) string {
	const most = 600
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
