package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/shadow"
)

// difference is one path at which a manifest differs from what is desired now.
type difference struct {
	Resource string        `json:"resource"`
	Path     string        `json:"path"`
	Now      *shadow.Value `json:"now,omitempty"`      // absent: it would be added
	Manifest *shadow.Value `json:"manifest,omitempty"` // absent: it would be removed
}

func diffCommand(o *options) *cobra.Command {
	var files []string
	var from, to uint64
	c := &cobra.Command{
		Use:   "diff -f FILE | diff --version N [--to N] KIND NODE[/NAME]",
		Short: "Say what apply would change, or what changed since a version; exit status 1 if anything",
		Example: `  gnomon diff -f manifests/
  gnomon diff --version 3 app edge-1/web
  gnomon diff --version 3 --to 5 app edge-1/web`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if from > 0 {
				if len(args) != 2 || len(files) > 0 {
					return &usageError{errors.New("--version goes with KIND NODE[/NAME], and without -f")}
				}
				s, ref, err := o.openShadow(c, args)
				if err != nil {
					return err
				}
				return s.diffVersions(c.Context(), c.OutOrStdout(), ref, from, to)
			}
			if len(files) == 0 || len(args) > 0 {
				return &usageError{errors.New("give manifests with -f, or --version and what it is a version of")}
			}
			s, err := o.open(c)
			if err != nil {
				return err
			}
			list, err := readManifests(files, c.InOrStdin())
			if err != nil {
				return &usageError{err}
			}
			return s.diff(c.Context(), c.OutOrStdout(), list)
		},
	}
	c.Flags().StringArrayVarP(&files, "filename", "f", nil, "file, directory or -; may be repeated")
	c.Flags().Uint64Var(&from, "version", 0, "compare what was desired at this version, see: gnomon history")
	c.Flags().Uint64Var(&to, "to", 0, "with what was desired at this one; the newest if none is given")
	return c
}

func (s *session) diff(ctx context.Context, w io.Writer, list []wanted) error {
	all := []difference{}
	for _, m := range list {
		if isChangeSet(m) {
			return &usageError{fmt.Errorf("%s: a change-set can't be compared; gnomon apply --dry-run=server checks it", m.origin)}
		}
		now, err := s.get1(ctx, m.Ref)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Ref, err)
		}
		var old *shadow.Value
		if now != nil && now.Desired != nil {
			if old, err = shadow.Parse(now.Desired, wide); err != nil {
				return fmt.Errorf("%s: %w", m.Ref, err)
			}
		}
		desired, err := shadow.Parse(m.desired, wide)
		if err != nil {
			return fmt.Errorf("%s: %w", m.origin, err)
		}
		all = append(all, differences(m.String(), "", old, desired)...)
	}
	return s.showDifferences(w, all)
}

// showDifferences prints them, and makes the exit status say that there are any.
func (s *session) showDifferences(w io.Writer, all []difference) error {
	if s.format != output.Table {
		if err := output.Write(w, s.format, map[string]any{"items": all}); err != nil {
			return err
		}
	} else {
		printDifferences(w, all)
	}
	if len(all) > 0 {
		return &silentError{exitFailure}
	}
	return nil
}

// wide lets through whatever the cloud's own limits let through.
var wide = shadow.Limits{BodyBytes: 4 << 20, Depth: 100}

// differences walks two documents side by side.
func differences(resource, path string, now, manifest *shadow.Value) []difference {
	if shadow.Equal(now, manifest) {
		return nil
	}
	if now.Kind() != shadow.Object || manifest.Kind() != shadow.Object {
		if (now == nil || now.Kind() == shadow.Object) && manifest.Kind() == shadow.Object && manifest.Len() > 0 && now == nil {
			now = shadow.NewObject()
		} else {
			return []difference{{Resource: resource, Path: path, Now: now, Manifest: manifest}}
		}
	}
	var out []difference
	below := func(key string) string {
		if path == "" {
			return key
		}
		return path + "." + key
	}
	for key, v := range now.Members() {
		out = append(out, differences(resource, below(key), v, manifest.Get(key))...)
	}
	for key, v := range manifest.Members() {
		if now.Get(key) == nil {
			out = append(out, differences(resource, below(key), nil, v)...)
		}
	}
	return out
}

func printDifferences(w io.Writer, all []difference) {
	last := ""
	for _, d := range all {
		if d.Resource != last {
			fmt.Fprintln(w, d.Resource)
			last = d.Resource
		}
		switch {
		case d.Now == nil:
			fmt.Fprintf(w, "  + %s: %s\n", d.Path, d.Manifest.AppendJSON(nil))
		case d.Manifest == nil:
			fmt.Fprintf(w, "  - %s: %s\n", d.Path, d.Now.AppendJSON(nil))
		default:
			fmt.Fprintf(w, "  ~ %s: %s -> %s\n", d.Path, d.Now.AppendJSON(nil), d.Manifest.AppendJSON(nil))
		}
	}
}
