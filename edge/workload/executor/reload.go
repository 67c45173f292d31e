package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"gnomon/edge/failpoint"
	"gnomon/edge/workload"
)

// Reload implements workload.Reloader. A shim of its own does it: it knows
// users, namespaces and mounts, and may hang or die alone.
func (e *Executor) Reload(ctx context.Context, spec workload.Spec) (workload.Status, error) {
	if err := workload.Check(spec); err != nil {
		return workload.Status{}, err
	}
	defer e.lock(spec.Name)()
	f, ok := e.find(spec.Name)
	if !ok {
		return workload.Status{}, fmt.Errorf("%w: %s", workload.ErrNotFound, spec.Name)
	}
	st := e.status(f)
	if err := f.foreign(); err != nil {
		return st, err
	}
	if st.State != workload.Running {
		return st, fmt.Errorf("reload %s: it is %s", spec.Name, st.State)
	}
	if spec.TargetInstance == "" {
		spec.TargetInstance = f.req.Spec.TargetInstance
	}
	spec.Former = f.req.Spec.Former
	if err := onlyFiles(f.req.Spec, spec); err != nil {
		return st, fmt.Errorf("reload %s: %w", spec.Name, err)
	}
	f.req.Spec = spec
	if err := e.reload(ctx, f); err != nil {
		return st, fmt.Errorf("reload %s: %w", spec.Name, err)
	}
	return e.status(f), nil
}

func (e *Executor) reload(ctx context.Context, f found) error {
	if err := f.dir.WriteReload(f.req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.StartTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.cfg.Shim, "reload", string(f.dir))
	cmd.Dir, cmd.Env = "/", append([]string{"PATH=" + workload.DefaultPath, "GOMAXPROCS=2"}, failpoint.Environ()...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return f.dir.Reloaded()
}

// onlyFiles tells whether two Specs differ in nothing that takes a new instance.
func onlyFiles(runs, wanted workload.Spec) error {
	if len(runs.Files) != len(wanted.Files) {
		return fmt.Errorf("%w: run.files has %d files, the instance %d", workload.ErrInvalid, len(wanted.Files), len(runs.Files))
	}
	a, err := essence(runs)
	if err != nil {
		return err
	}
	b, err := essence(wanted)
	if err != nil {
		return err
	}
	if !bytes.Equal(a, b) {
		return fmt.Errorf("%w: more than the content of files is different", workload.ErrInvalid)
	}
	return nil
}

// essence is what an instance is made from but for what can change while it runs.
func essence(s workload.Spec) ([]byte, error) {
	s.Hash, s.Reload, s.StopGrace = "", "", 0
	files := append(s.Files[:0:0], s.Files...)
	for i := range files {
		files[i].Content = ""
	}
	s.Files = files
	return json.Marshal(s)
}
