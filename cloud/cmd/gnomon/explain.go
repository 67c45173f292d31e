package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

func explainCommand(o *options) *cobra.Command {
	var which following
	c := &cobra.Command{
		Use:   "explain KIND NODE[/NAME]",
		Short: "Say why something has or has not converged, and follow one change of it",
		Long: `Say why something has or has not converged, and what became of one change of
it, step by step: written, committed, published, delivered (to a node: it is on
its disk), planned, reported, converged; of a step that has not happened why, as
far as that is known. It is the last change of what is desired, unless --trace or
--version names another that the cloud still remembers.

With --follow the steps are printed as they happen. The exit status is then 0
once it has converged, 1 if it has failed for good or if a change that was named
is superseded, and 6 if --for has passed.`,
		Example: "  gnomon explain app edge-1/web\n  gnomon explain app edge-1/web --version 7\n  gnomon explain shadow lamp-7/light\n  gnomon explain app edge-1/web --follow --for 5m -o json",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, ref, err := o.openAny(c, args)
			if err != nil {
				return err
			}
			if which.limit != 0 && !which.follow {
				return &usageError{errors.New("--for goes with --follow")}
			}
			which.ref = ref
			if which.follow {
				return s.follow(c.Context(), c.OutOrStdout(), which)
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			return s.explain(ctx, c.OutOrStdout(), which)
		},
	}
	f := c.Flags()
	f.StringVar(&which.trace, "trace", "", "the change with this trace: a trace id or a traceparent")
	f.Uint64Var(&which.version, "version", 0, "the change that led to this version")
	f.BoolVarP(&which.follow, "follow", "w", false, "print steps as they happen, until the change has converged or never will")
	f.DurationVar(&which.limit, "for", 0, "follow for at most this long")
	return c
}

func describeCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "describe KIND NODE[/NAME]",
		Short:   "Print everything about one thing, for people",
		Example: "  gnomon describe node edge-1\n  gnomon describe app edge-1/web",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, ref, err := o.openRef(c, args)
			if err != nil {
				return err
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			return s.describe(ctx, c.OutOrStdout(), ref)
		},
	}
}

// openRef opens a session and reads KIND and NODE[/NAME] of what is no free shadow.
func (o *options) openRef(c *cobra.Command, args []string) (*session, client.Ref, error) {
	s, ref, err := o.openAny(c, args)
	if err == nil && ref.Kind == schema.KindFree {
		err = &usageError{fmt.Errorf("%s is for nodes, apps and policies", c.Name())}
	}
	return s, ref, err
}

// openAny opens a session and reads KIND and NODE[/NAME].
func (o *options) openAny(c *cobra.Command, args []string) (*session, client.Ref, error) {
	s, err := o.open(c)
	if err != nil {
		return nil, client.Ref{}, err
	}
	kind, err := parseKind(args[0])
	if err != nil {
		return nil, client.Ref{}, err
	}
	ref, err := parseRef(kind, args[1])
	return s, ref, err
}

type explanation struct {
	Change          *story          `json:"change"`
	Position        string          `json:"position"`
	Converged       bool            `json:"converged"`
	Phase           string          `json:"phase"`
	DesiredVersion  uint64          `json:"desiredVersion"`
	ObservedVersion uint64          `json:"observedVersion"`
	Pending         []pendingPath   `json:"pending"`
	Health          string          `json:"health"`
	Blockers        schema.Blockers `json:"blockers"`
	Error           *schema.Fault   `json:"error"`
	Summary         string          `json:"summary"`
	Next            string          `json:"next"`
}

type pendingPath struct {
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value"`
	Since time.Time       `json:"since"`
}

func (s *session) explain(ctx context.Context, w io.Writer, which following) error {
	raw, err := s.Raw(ctx, which.path())
	if err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, raw)
	}
	var e explanation
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	e.print(w, which.ref)
	if e.Change != nil {
		e.Change.print(w)
	}
	return nil
}

// print says how things are, but for the steps of a change.
func (e *explanation) print(w io.Writer, ref client.Ref) {
	fmt.Fprintf(w, "%s: %s\n", ref, e.Summary)
	if e.Next != "" {
		fmt.Fprintf(w, "  next      %s\n", e.Next)
	}
	fmt.Fprintf(w, "  desired   version %d, acted on %d\n", e.DesiredVersion, e.ObservedVersion)
	if e.Error != nil && e.Error.At != "" {
		fmt.Fprintf(w, "  error     %s, at %s\n", e.Error.Code, e.Error.At)
	}
	if e.Health != "" {
		fmt.Fprintf(w, "  health    %s\n", e.Health)
	}
	for _, b := range e.Blockers {
		fmt.Fprintf(w, "  blocker   %s (%s)\n", b, b.Code)
	}
	for _, p := range e.Pending {
		fmt.Fprintf(w, "  pending   %s = %s, since %s\n", p.Path, p.Value, p.Since.Local().Format("2006-01-02 15:04:05"))
	}
}

func (s *session) describe(ctx context.Context, w io.Writer, ref client.Ref) error {
	r, err := s.Get(ctx, ref)
	if err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, r)
	}
	if err := s.explain(ctx, w, following{ref: ref}); err != nil {
		return err
	}
	describeNode(w, fields(r.Reported).in(schema.NodeMember))
	fmt.Fprintf(w, "  version   %d, changed %s\n", r.Version, age(r.Timestamp))
	for _, section := range []struct {
		name string
		raw  json.RawMessage
	}{{"desired", r.Desired}, {"reported", r.Reported}, {"delta", r.Delta}} {
		if len(section.raw) == 0 {
			continue
		}
		var text bytes.Buffer
		if err := output.Write(&text, output.YAML, section.raw); err != nil {
			return err
		}
		fmt.Fprintf(w, "\n%s\n", section.name)
		for line := range strings.Lines(text.String()) {
			fmt.Fprint(w, "  ", line)
		}
	}
	return nil
}
