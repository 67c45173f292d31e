package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gnomon/edge/link"
	"gnomon/edge/override"
	"gnomon/edge/reconcile/loop"
	"gnomon/edge/state"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
	"gnomon/shadow"
)

// FromDisk tells what the directory of an agent that doesn't run says: what was
// reported last, and what of that has a process now. It changes nothing.
func FromDisk(data string) (*Status, error) {
	v := state.ViewOf(filepath.Join(data, "state"))
	outbox, err := v.Outbox(schema.AppPrefix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w on %s, and there is nothing of one on its disk; name the directory with --data", ErrNoAgent, data)
	}
	if err != nil {
		return nil, err
	}
	s := &Status{Link: link.Status{Pending: []string{}}, Overrides: []override.Told{}}
	s.Applications, s.Policies = []loop.Application{}, []loop.Policy{}
	for _, o := range outbox {
		s.Applications = append(s.Applications, reportedOf(data, o))
		if !shadow.Equal(o.Reported, o.Acked) {
			s.Link.Pending = append(s.Link.Pending, o.Name)
		}
	}
	slices.SortFunc(s.Applications, func(a, b loop.Application) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// reportedOf is an application as it was reported last, with the process that it
// has now.
func reportedOf(data string, o state.Outbox) loop.Application {
	_, name := schema.KindOf(o.Name)
	r := o.Reported
	a := loop.Application{Name: name, Mode: r.Get("mode").Text(), Component: r.Get("component").Text(), Phase: r.Get("phase").Text()}
	if a.Mode == "" {
		a.Mode = string(schema.ModeContainer)
	}
	if n, err := strconv.ParseUint(r.Get("observedVersion").Text(), 10, 64); err == nil {
		a.ObservedVersion, a.DesiredVersion = n, n
	}
	if n, err := strconv.Atoi(r.Get("restarts").Text()); err == nil {
		a.Restarts = n
	}
	if rec, ok := running(data, name); ok {
		a.PID, a.Instance, a.StartedAt = rec.PID, rec.Status.Instance, rec.Status.StartedAt
	} else if a.Phase == "running" {
		a.Phase = "stopped"
	}
	return a
}

// running finds the instance of an application whose process is alive.
func running(data, name string) (instance.Record, bool) {
	_, rec, err := Find(data, name)
	return rec, err == nil
}

// ErrNotRunning: the application has no instance that runs.
var ErrNotRunning = errors.New("it does not run")

// Find returns the instance of an application that runs, from disk alone: of two the
// one from which the other is to take over.
func Find(data, name string) (instance.Dir, instance.Record, error) {
	base := filepath.Join(data, "run", name)
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", instance.Record{}, err
	}
	var dir instance.Dir
	var rec instance.Record
	former := ""
	for _, e := range entries {
		d := instance.Dir(filepath.Join(base, e.Name()))
		r, err := d.ReadRecord()
		if err != nil || !d.Held() || !r.Alive() || dir != "" && r.Status.Instance != former {
			continue
		}
		dir, rec = d, r
		if req, err := d.ReadRequest(); err == nil {
			former = req.Spec.Former
		}
	}
	if dir == "" {
		return "", instance.Record{}, fmt.Errorf("%s: %w", name, ErrNotRunning)
	}
	return dir, rec, nil
}
