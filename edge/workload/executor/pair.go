package executor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

// instances lists those of a name on disk, the last one last. One without a
// request was not written to the end: nothing of it was started.
func (e *Executor) instances(name string) (all []found) {
	entries, err := os.ReadDir(e.run(name))
	if err != nil {
		return nil
	}
	when := map[instance.Dir]time.Time{}
	for _, d := range entries {
		f := found{dir: instance.Dir(filepath.Join(e.run(name), d.Name()))}
		if f.live = f.dir.Held(); f.live {
			if v, newer := f.dir.Newer(); newer {
				f.newer = v
			}
		}
		if f.newer == 0 {
			if f.req, err = f.dir.ReadRequest(); err != nil {
				continue
			}
		}
		if info, err := d.Info(); err == nil {
			when[f.dir] = info.ModTime()
		}
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b found) int { return when[a.dir].Compare(when[b.dir]) })
	return all
}

// find returns the instance of a name that counts, with the one beside it. Which of
// two was started beside the other the Request says; with neither live, it is the
// former one unless the other has taken over. There are more only if the node lost
// power in the middle of a start; a live one is meant then, else the last.
func (e *Executor) find(name string) (found, bool) {
	all := e.instances(name)
	if len(all) == 0 {
		return found{}, false
	}
	best := all[len(all)-1]
	for _, f := range all {
		switch {
		case f.newer > 0:
			return f, true
		case f.live && (!best.live || f.req.Instance == best.req.Spec.Former):
			best = f
		}
	}
	if !best.live {
		if i := slices.IndexFunc(all, func(f found) bool { return f.req.Instance == best.req.Spec.Former }); i >= 0 {
			best = all[i]
		}
		if i := slices.IndexFunc(all, func(f found) bool { return tookOver(f, best) }); i >= 0 {
			best = all[i]
		}
	}
	for _, f := range all {
		if f.req.Spec.Former == best.req.Instance && (best.next == nil || f.live || !best.next.live) {
			best.next = &f
		}
	}
	return best, true
}

// claims are those of a live instance. On its data it lays one only if there is any.
func (e *Executor) claims(f found) []string {
	all := workload.Claims(f.req.Spec, false)
	if e.hasData(f.req.Spec.Name) {
		return all
	}
	return slices.DeleteFunc(all, func(c string) bool { return c == workload.ClaimData })
}

func (e *Executor) hasData(name string) bool {
	d, err := os.Open(e.DataPath(name))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer d.Close()
	names, _ := d.Readdirnames(1)
	return len(names) > 0
}

// makeRoom clears away what isn't live, so that an instance can be started beside
// the one that is, and tells whether it can.
func (e *Executor) makeRoom(ctx context.Context, f found, spec workload.Spec) error {
	was := f.req.Spec
	clash := workload.Clash(workload.Claims(spec, true), workload.Claims(was, true))
	// Programs may share a port of the node, but not one that is published.
	if spec.Network == schema.NetworkBridge || was.Network == schema.NetworkBridge {
		clash = append(clash, workload.Clash(portsOf(spec), portsOf(was))...)
	}
	switch {
	case f.next != nil && f.next.live:
		return fmt.Errorf("%w: %s has another one beside it already", workload.ErrRunning, spec.Name)
	case was.Mode != spec.Mode || was.Target != spec.Target:
		return fmt.Errorf("%w: it runs in mode %s", workload.ErrBeside, was.Mode)
	case len(clash) > 0:
		return fmt.Errorf("%w: both need %s", workload.ErrBeside, clash[0])
	case spec.Mode == schema.ModeAttach && spec.Root != was.Root:
		return fmt.Errorf("%w: its component is mounted in the container, where another one would have to be", workload.ErrBeside)
	case (was.UserNamespace == schema.UserNamespaceAuto) != (spec.UserNamespace == schema.UserNamespaceAuto),
		spec.UserNamespace == schema.UserNamespaceAuto && f.req.Range != nil && !e.cfg.SubIDs.Holds(*f.req.Range):
		return fmt.Errorf("%w: what it has on disk would belong to other users", workload.ErrBeside)
	case e.joined(f):
		return fmt.Errorf("%w: others are attached to it", workload.ErrBeside)
	}
	for _, other := range e.instances(spec.Name) {
		if other.dir == f.dir {
			continue
		}
		if err := e.drop(ctx, other, f); err != nil {
			return err
		}
	}
	return nil
}

// portsOf are the claims that an instance lays on ports, whatever network it is in.
func portsOf(s workload.Spec) []string {
	return workload.Claims(workload.Spec{Ports: s.Ports, Network: schema.NetworkBridge}, true)
}

// joined tells whether anything live is attached to a container.
func (e *Executor) joined(f found) bool {
	names, err := os.ReadDir(filepath.Join(e.cfg.Data, "run"))
	if err != nil {
		return true
	}
	for _, n := range names {
		for _, other := range e.instances(n.Name()) {
			if other.live && other.req.TargetDir == string(f.dir) {
				return true
			}
		}
	}
	return false
}

// Dismiss implements workload.HandOver.
func (e *Executor) Dismiss(ctx context.Context, name, id string, grace time.Duration) error {
	if err := valid(name); err != nil {
		return err
	}
	defer e.lock(name)()
	f, ok := e.find(name)
	if !ok {
		return nil
	}
	if err := f.foreign(); err != nil {
		return err
	}
	gone, stays := f, f
	switch {
	case f.next != nil && f.next.req.Instance == id:
		gone = *f.next
	case f.req.Instance != id: // it ended before
		i := slices.IndexFunc(e.instances(name), func(o found) bool { return o.req.Instance == id })
		if i < 0 {
			return nil
		}
		gone = e.instances(name)[i]
	case f.next == nil || e.alone(*f.next).State != workload.Running:
		return fmt.Errorf("dismiss %s: %w: no other one of %s runs", id, workload.ErrBeside, name)
	default:
		stays = *f.next
	}
	if err := e.giveOver(gone, stays, grace); err != nil {
		return fmt.Errorf("dismiss %s of %s: %w", id, name, err)
	}
	if err := e.stop(ctx, gone, grace); err != nil {
		return fmt.Errorf("dismiss %s of %s: %w", id, name, err)
	}
	if err := e.drop(ctx, gone, stays); err != nil {
		return fmt.Errorf("dismiss %s of %s: %w", id, name, err)
	}
	return nil
}

// tookOver tells whether an instance took over from the one it was started beside.
func tookOver(next, former found) bool {
	if former.req.Instance == "" || next.req.Spec.Former != former.req.Instance {
		return false
	}
	s, asked := former.dir.ReadStop()
	return asked && s.Next == next.req.Instance
}

// giveOver writes down that one instance took over from another, if it was started
// beside that. From then on it is the one that counts once neither is live, whatever
// becomes of what is left of the former one.
func (e *Executor) giveOver(former, next found, grace time.Duration) error {
	if next.req.Spec.Former != former.req.Instance || tookOver(next, former) {
		return nil
	}
	err := former.dir.WriteStop(instance.Stop{Grace: max(0, grace), Next: next.req.Instance})
	if unwritable(err) { // it must be possible to end what has filled the disk
		e.cfg.Log.Warn("it cannot be written down that an instance took over", "app", next.req.Spec.Name, "error", err)
		return nil
	}
	return err
}

// drop deletes an instance that isn't live, beside one that stays, with what was its
// own alone. It may be cut off anywhere, and begun again: the other one counts.
func (e *Executor) drop(ctx context.Context, gone, stays found) error {
	if err := e.giveOver(gone, stays, 0); err != nil {
		return err
	}
	if gone.req.Cgroup == stays.req.Cgroup { // of an instance that has ended before this one began
		if err := e.release(ctx, gone); err != nil {
			return err
		}
	} else if err := e.end(ctx, gone); err != nil {
		return err
	}
	if layer := filepath.Dir(gone.req.Upper); gone.req.Upper != "" && gone.req.Spec.Root == stays.req.Spec.Root && gone.req.Upper != stays.req.Upper {
		if err := os.RemoveAll(layer); err != nil {
			return err
		}
	}
	if stays.req.Root != "" && gone.req.Spec.Former == stays.req.Instance {
		if err := e.versions(stays.req.Spec.Name).point(current, filepath.Base(stays.req.Root)); err != nil {
			return err
		}
	}
	// Without its Request it doesn't count, whatever else of it is there.
	if err := os.Remove(gone.dir.Spec()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(string(gone.dir))
}

// dropNext deletes what was started beside an instance that isn't live, and isn't
// either: that never took over.
func (e *Executor) dropNext(ctx context.Context, f found) error {
	var errs []error
	for _, other := range e.instances(f.name()) {
		if other.dir != f.dir && other.req.Spec.Former == f.req.Instance {
			errs = append(errs, e.drop(ctx, other, f))
		}
	}
	return errors.Join(errs...)
}

// tidy deletes the former one of two instances once it has ended, whatever ended it:
// how the one that took over ends is to be seen.
func (e *Executor) tidy(ctx context.Context, name string) error {
	unlock, ok := e.tryLock(name)
	if !ok {
		return nil
	}
	defer unlock()
	f, ok := e.find(name)
	if !ok || !f.live || f.newer > 0 {
		return nil
	}
	return e.dropFormers(ctx, f)
}

// dropFormers deletes what an instance took over from, once that isn't live.
func (e *Executor) dropFormers(ctx context.Context, f found) error {
	var errs []error
	for _, other := range e.instances(f.name()) {
		if other.dir != f.dir && !other.live && f.req.Spec.Former == other.req.Instance {
			errs = append(errs, e.drop(ctx, other, f))
		}
	}
	return errors.Join(errs...)
}
