package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
	"gnomon/shadow"
)

// past is one version of what was desired, as the API has it.
type past struct {
	Version    uint64          `json:"version"`
	Timestamp  int64           `json:"timestamp,omitempty"`
	By         string          `json:"by,omitempty"`
	Via        string          `json:"via,omitempty"`
	Generation uint64          `json:"generation,omitempty"`
	Deleted    bool            `json:"deleted,omitempty"`
	Desired    json.RawMessage `json:"desired,omitempty"`
}

func historyCommand(o *options) *cobra.Command {
	var version uint64
	c := &cobra.Command{
		Use:   "history KIND NODE[/NAME]",
		Short: "List the last versions of what was desired, and who wrote them",
		Long: `List the last versions of what was desired, and who wrote them; the newest
first. How many are kept is for the server to say (gnomon cloud --history). With
--version what was desired at one of them is printed. Of a shadow that was
deleted there is a history, too.`,
		Example: "  gnomon history app edge-1/web\n  gnomon history shadow meter-9 --version 3",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, ref, err := o.openShadow(c, args)
			if err != nil {
				return err
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			if version > 0 {
				raw, err := s.Raw(ctx, pastPath(ref, version))
				if err != nil {
					return err
				}
				if s.format == output.Table {
					return output.Write(c.OutOrStdout(), output.YAML, raw)
				}
				return output.Write(c.OutOrStdout(), s.format, raw)
			}
			return s.history(ctx, c.OutOrStdout(), ref)
		},
	}
	c.Flags().Uint64Var(&version, "version", 0, "print what was desired at this version")
	return c
}

// openShadow opens a session and reads KIND and NODE[/NAME], shadows included.
func (o *options) openShadow(c *cobra.Command, args []string) (*session, client.Ref, error) {
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

// below is the path of something about a resource, or about a shadow of any thing.
func below(ref client.Ref, what string) string {
	if ref.Kind != schema.KindFree {
		return ref.Path() + "/" + what
	}
	path := "/v1/things/" + url.PathEscape(ref.Node) + "/" + what
	if ref.Name != "" {
		path += "?shadow=" + url.QueryEscape(ref.Name)
	}
	return path
}

func pastPath(ref client.Ref, version uint64) string {
	return below(ref, "history/"+strconv.FormatUint(version, 10))
}

func (s *session) history(ctx context.Context, w io.Writer, ref client.Ref) error {
	raw, err := s.Raw(ctx, below(ref, "history"))
	if err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, raw)
	}
	var answer struct {
		Items []past `json:"items"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return err
	}
	rows := make([][]string, 0, len(answer.Items))
	for _, p := range answer.Items {
		via, what := p.Via, ""
		if p.Generation > 0 {
			via += " " + strconv.FormatUint(p.Generation, 10)
		}
		if p.Deleted {
			what = "deleted"
		}
		rows = append(rows, []string{strconv.FormatUint(p.Version, 10), second(p.Timestamp), p.By, via, what})
	}
	return output.Rows(w, []string{"VERSION", "TIME", "BY", "VIA", "WHAT"}, rows)
}

func withQuery(path, query string) string {
	if strings.Contains(path, "?") {
		return path + "&" + query
	}
	return path + "?" + query
}

// pastDesired reads what was desired at a version; nil when nothing was.
func (s *session) pastDesired(ctx context.Context, ref client.Ref, version uint64) (*shadow.Value, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	raw, err := s.Raw(ctx, pastPath(ref, version))
	if err != nil {
		return nil, err
	}
	var p past
	if err := json.Unmarshal(raw, &p); err != nil || p.Desired == nil {
		return nil, err
	}
	return shadow.Parse(p.Desired, wide)
}

// newest is the version of desired that a history ends with.
func (s *session) newest(ctx context.Context, ref client.Ref) (uint64, error) {
	ctx, cancel := s.limited(ctx)
	defer cancel()
	raw, err := s.Raw(ctx, below(ref, "history"))
	if err != nil {
		return 0, err
	}
	var answer struct {
		DesiredVersion uint64 `json:"desiredVersion"`
	}
	return answer.DesiredVersion, json.Unmarshal(raw, &answer)
}

// diffVersions says how desired changed from one version to another, the present
// one when to is 0.
func (s *session) diffVersions(ctx context.Context, w io.Writer, ref client.Ref, from, to uint64) error {
	if to == 0 {
		var err error
		if to, err = s.newest(ctx, ref); err != nil {
			return err
		}
	}
	before, err := s.pastDesired(ctx, ref, from)
	if err != nil {
		return err
	}
	after, err := s.pastDesired(ctx, ref, to)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s, version %d to %d", ref, from, to)
	return s.showDifferences(w, differences(what, "", before, after))
}

func revertCommand(o *options) *cobra.Command {
	var to uint64
	var ifMatch string
	var dryRun string
	c := &cobra.Command{
		Use:   "revert KIND NODE[/NAME] --to VERSION",
		Short: "Make desired what it was at an earlier version, as a new version",
		Example: `  gnomon history app edge-1/web
  gnomon diff --version 3 app edge-1/web
  gnomon revert app edge-1/web --to 3`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			s, ref, err := o.openShadow(c, args)
			if err != nil {
				return err
			}
			switch {
			case to == 0:
				return &usageError{errors.New("--to 0: must be a version, see: gnomon history")}
			case dryRun != "" && dryRun != "server":
				return &usageError{fmt.Errorf("--dry-run %q: must be server", dryRun)}
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			path := below(ref, "revert")
			if dryRun != "" {
				path = withQuery(path, "dryRun=server")
			}
			r := new(client.Resource)
			if err := s.Post(ctx, path, map[string]any{"version": to}, ifMatch, r); err != nil {
				return err
			}
			if s.format != output.Table {
				return output.Write(c.OutOrStdout(), s.format, r)
			}
			suffix := ""
			if dryRun != "" {
				suffix = " (dry run)"
			}
			fmt.Fprintf(c.OutOrStdout(), "%s reverted to version %d (version %d)%s\n", ref, to, r.Version, suffix)
			return nil
		},
	}
	c.Flags().Uint64Var(&to, "to", 0, "the version whose desired is wanted back")
	c.Flags().StringVar(&ifMatch, "if-match", "", "only if this is the current version, such as v7")
	c.Flags().StringVar(&dryRun, "dry-run", "", "server: check everything, change nothing")
	must(c.MarkFlagRequired("to"))
	return c
}
