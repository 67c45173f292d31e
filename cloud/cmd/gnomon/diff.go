package main

import (
	"context"
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
	c := &cobra.Command{
		Use:     "diff -f FILE",
		Short:   "Say what apply would change; exit status 1 if anything",
		Example: "  gnomon diff -f manifests/",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
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
	must(c.MarkFlagRequired("filename"))
	return c
}

func (s *session) diff(ctx context.Context, w io.Writer, list []wanted) error {
	all := []difference{}
	for _, m := range list {
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
