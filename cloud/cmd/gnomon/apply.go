package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/cloud/trace"
	"gnomon/shadow/wire"
)

func applyCommand(o *options) *cobra.Command {
	var files []string
	var dryRun string
	var wait time.Duration
	var l life
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make manifests what is desired",
		Long: `Make manifests what is desired. FILE is a file, a directory or - for standard
input; YAML or JSON, several documents in one file are fine. All manifests are
checked by the cloud before the first is written.

With --atomic, or any of the flags for a time, a window or a condition, what they
say of one node is one change-set: applied as one generation or not at all, and
listed by gnomon changes. --wait then waits until all of it is reached. A document
of kind change-set is one, with merge patches by shadow:

  kind: change-set
  node: edge-1
  shadows: {cfg: {desired: {reboot: now}}, "app:web": {desired: {run: {env: {A: "1"}}}}}
  expiresAt: 2026-11-21T22:00:00Z
  clearWhenReached: false

All that is written has one W3C trace, the one in $TRACEPARENT or a new one:
gnomon explain follows it to the node and back.`,
		Example: `  gnomon apply -f site.yaml
  gnomon apply -f manifests/ --wait
  gnomon apply -f manifests/ --atomic --window "mon-fri 22:00-04:00 Europe/Berlin" --expires 48h
  gnomon get app edge-1/web -o yaml | sed s/1.0/1.1/ | gnomon apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			if dryRun != "" && dryRun != "server" {
				return &usageError{fmt.Errorf("--dry-run %q: must be server", dryRun)}
			}
			list, err := readManifests(files, c.InOrStdin())
			if err != nil {
				return &usageError{err}
			}
			return s.apply(c.Context(), c.OutOrStdout(), c.ErrOrStderr(), applyRun{list, dryRun != "", wait, l})
		},
	}
	f := c.Flags()
	f.StringArrayVarP(&files, "filename", "f", nil, "file, directory or -; may be repeated")
	f.StringVar(&dryRun, "dry-run", "", "server: check everything, change nothing")
	f.DurationVar(&wait, "wait", 0, "wait until all have converged, at most this long (5m if none is given)")
	f.Lookup("wait").NoOptDefVal = "5m"
	l.register(f)
	must(c.MarkFlagRequired("filename"))
	return c
}

// must is for mistakes in the program itself.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// appliedAs is what apply prints for programs.
type appliedAs struct {
	Items []*client.Resource `json:"items"`
	Trace string             `json:"trace,omitempty"` // of what has changed
}

type applyRun struct {
	list   []wanted
	dryRun bool
	wait   time.Duration
	life   life
}

func (s *session) apply(ctx context.Context, out, progress io.Writer, run applyRun) error {
	if sets := run; run.life.asked() || slices.ContainsFunc(run.list, isChangeSet) {
		if !run.life.asked() {
			sets.list = slices.DeleteFunc(slices.Clone(run.list), func(w wanted) bool { return !isChangeSet(w) })
			run.list = slices.DeleteFunc(run.list, isChangeSet)
			if len(run.list) > 0 {
				if s.format != output.Table {
					return &usageError{errors.New("change-sets and other manifests are applied one after the other: apply them apart, or give --atomic")}
				}
				if err := s.applyEach(ctx, out, progress, run); err != nil {
					return err
				}
			}
		}
		return s.applyAtomic(ctx, out, progress, sets)
	}
	return s.applyEach(ctx, out, progress, run)
}

// applyEach writes manifests one by one.
func (s *session) applyEach(ctx context.Context, out, progress io.Writer, run applyRun) error {
	before, err := s.checkAll(ctx, run.list)
	if err != nil {
		return err
	}
	s.Parent = trace.ParentOr(os.Getenv("TRACEPARENT"))
	changed := false
	var applied []*client.Resource
	for i, w := range run.list {
		r, err := s.put(ctx, w, run.dryRun)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", w.origin, w.Ref, err)
		}
		what := "configured"
		switch {
		case before[i] == nil:
			what = "created"
		case before[i].Version == r.Version:
			what = "unchanged"
		}
		changed = changed || what != "unchanged" && !run.dryRun
		if run.dryRun {
			what += " (dry run)"
		}
		applied = append(applied, r)
		if s.format == output.Table {
			fmt.Fprintf(out, "%s %s (version %d)\n", w.Ref, what, r.Version)
		}
	}
	id := ""
	if changed {
		id, _ = wire.TraceID(s.Parent)
	}
	if id != "" && s.format == output.Table {
		fmt.Fprintf(out, "trace %s\n", id)
	}
	if run.wait > 0 && !run.dryRun {
		if applied, err = s.converge(ctx, progress, run.list, run.wait); err != nil {
			return err
		}
	}
	if s.format != output.Table {
		return output.Write(out, s.format, appliedAs{applied, id})
	}
	return nil
}

// checkAll has the cloud check every manifest before any is written, and
// returns what is there now, nil for what isn't.
func (s *session) checkAll(ctx context.Context, list []wanted) ([]*client.Resource, error) {
	before := make([]*client.Resource, len(list))
	var refused error
	for i, w := range list {
		r, err := s.get1(ctx, w.Ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.Ref, err)
		}
		before[i] = r
		if _, err := s.put(ctx, w, true); err != nil {
			var answer *client.Error
			if !errors.As(err, &answer) {
				return nil, err
			}
			refused = errors.Join(refused, fmt.Errorf("%s: %s: %w", w.origin, w.Ref, err))
		}
	}
	if refused != nil {
		return nil, fmt.Errorf("nothing was changed: %w", refused)
	}
	return before, nil
}

// get1 reads a resource; nil when there is none.
func (s *session) get1(ctx context.Context, ref client.Ref) (*client.Resource, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	r, err := s.Get(ctx, ref)
	var answer *client.Error
	if errors.As(err, &answer) && answer.Status == 404 {
		return nil, nil
	}
	return r, err
}

func (s *session) put(ctx context.Context, w wanted, dryRun bool) (*client.Resource, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	return s.Put(ctx, w.Ref, w.desired, dryRun)
}
