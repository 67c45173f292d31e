package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gnomon/cli/output"
	"gnomon/cloud/cmd/gnomon/internal/client"
	"gnomon/schema"
)

// changeSet is a change-set as the API has it.
type changeSet struct {
	Thing      string `json:"thing"`
	Generation uint64 `json:"generation"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	Shadows    map[string]struct {
		Version  uint64 `json:"version"`
		Receipts []struct {
			schema.Receipt
			Value json.RawMessage `json:"value"`
		} `json:"receipts"`
	} `json:"shadows"`
	NotBefore  string `json:"notBefore"`
	ExpiresAt  string `json:"expiresAt"`
	NextWindow string `json:"nextWindow"`
	Note       string `json:"note"`
	By         string `json:"by"`
	Created    int64  `json:"created"`

	raw json.RawMessage
}

func (c *changeSet) name() string { return fmt.Sprintf("%s/%d", c.Thing, c.Generation) }

// shadows lists what it changes, with the versions it made.
func (c *changeSet) shadows() string {
	var parts []string
	for name, share := range c.Shadows {
		text := shadowWord(c.Thing, name)
		if share.Version > 0 {
			text += fmt.Sprintf(" (version %d)", share.Version)
		}
		parts = append(parts, text)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// shadowWord names a shadow as apply does.
func shadowWord(thing, name string) string {
	switch kind, short := schema.KindOf(name); kind {
	case schema.KindNode:
		return "node " + thing
	case schema.KindFree:
		return "shadow " + thing + "/" + name
	default:
		return string(kind) + " " + thing + "/" + short
	}
}

func (c *changeSet) over() bool { return c.Status != "scheduled" && c.Status != "applied" }

// state says how far it is in a few words.
func (c *changeSet) state() string {
	switch {
	case c.Status == "scheduled" && c.NextWindow != "":
		return "scheduled, not before " + c.NextWindow
	case c.Status == "scheduled":
		return "scheduled, when its precondition holds"
	case c.Reason != "":
		return c.Status + ": " + c.Reason
	case c.Status == "applied":
		if n := c.pending(); n > 0 {
			return fmt.Sprintf("applied, %d pending", n)
		}
	}
	return c.Status
}

func (c *changeSet) pending() int {
	n := 0
	for _, share := range c.Shadows {
		for _, r := range share.Receipts {
			if r.Status != schema.ReceiptApplied {
				n++
			}
		}
	}
	return n
}

func changesPath(thing string) string { return "/v1/things/" + url.PathEscape(thing) + "/changes" }

func changesCommand(o *options) *cobra.Command {
	var node string
	c := &cobra.Command{
		Use:   "changes",
		Short: "List change-sets: all that are not over, or those of one node",
		Long: `List change-sets: all that are not over, or with -n those of one node or other
thing, where the last that are over are listed, too. A change-set is several
shadows changed as one generation; gnomon apply makes them with --atomic or with a
time, a window or a condition, and from manifests of kind change-set.`,
		Example: "  gnomon changes\n  gnomon changes -n edge-1\n  gnomon changes get edge-1/7\n  gnomon changes cancel edge-1/7",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := o.open(c)
			if err != nil {
				return err
			}
			ctx, cancel := s.limited(c.Context())
			defer cancel()
			return s.listChanges(ctx, c.OutOrStdout(), node)
		},
	}
	c.Flags().StringVarP(&node, "node", "n", "", "of this node or other thing")
	get := &cobra.Command{
		Use: "get NODE/GENERATION", Short: "Say what became of a change-set, value by value", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.oneChange(c, args[0], (*session).printChange, (*session).getChange)
		},
	}
	cancel := &cobra.Command{
		Use: "cancel NODE/GENERATION", Short: "Cancel a change-set that is not applied yet", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.oneChange(c, args[0], (*session).printCancelled, (*session).cancelChange)
		},
	}
	c.AddCommand(get, cancel)
	wrapUsage(get)
	wrapUsage(cancel)
	return c
}

// oneChange reads NODE/GENERATION, does something with it, and prints it.
func (o *options) oneChange(c *cobra.Command, arg string, show func(*session, io.Writer, *changeSet) error, do func(*session, context.Context, string, uint64) (*changeSet, error)) error {
	s, err := o.open(c)
	if err != nil {
		return err
	}
	thing, digits, ok := strings.Cut(arg, "/")
	generation, err := strconv.ParseUint(digits, 10, 64)
	if !ok || thing == "" || err != nil || generation == 0 {
		return &usageError{fmt.Errorf("%q: name it as NODE/GENERATION, such as edge-1/7", arg)}
	}
	ctx, cancel := s.limited(c.Context())
	defer cancel()
	got, err := do(s, ctx, thing, generation)
	if err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(c.OutOrStdout(), s.format, got.raw)
	}
	return show(s, c.OutOrStdout(), got)
}

func (s *session) getChange(ctx context.Context, thing string, generation uint64) (*changeSet, error) {
	raw, err := s.Raw(ctx, fmt.Sprint(changesPath(thing), "/", generation))
	if err != nil {
		return nil, err
	}
	return parseChange(raw)
}

func (s *session) cancelChange(ctx context.Context, thing string, generation uint64) (*changeSet, error) {
	raw, err := s.DeleteRaw(ctx, fmt.Sprint(changesPath(thing), "/", generation))
	if err != nil {
		return nil, err
	}
	return parseChange(raw)
}

func parseChange(raw json.RawMessage) (*changeSet, error) {
	c := &changeSet{raw: raw}
	return c, json.Unmarshal(raw, c)
}

func (s *session) listChanges(ctx context.Context, w io.Writer, thing string) error {
	path, query := "/v1/changes", url.Values{}
	if thing != "" {
		path, query = changesPath(thing), nil
	}
	var all []json.RawMessage
	var err error
	if thing == "" {
		all, err = client.Pages[json.RawMessage](ctx, s.Client, path, query)
	} else {
		var page struct{ Items []json.RawMessage }
		var raw json.RawMessage
		if raw, err = s.Raw(ctx, path); err == nil {
			err = json.Unmarshal(raw, &page)
		}
		all = page.Items
	}
	if err != nil {
		return err
	}
	if s.format != output.Table {
		return output.Write(w, s.format, map[string]any{"items": all})
	}
	rows := make([][]string, 0, len(all))
	for _, raw := range all {
		c, err := parseChange(raw)
		if err != nil {
			return err
		}
		rows = append(rows, []string{c.name(), c.state(), c.shadows(), c.ExpiresAt, c.By, second(c.Created), clipped(c.Note)})
	}
	return output.Rows(w, []string{"CHANGE-SET", "STATUS", "SHADOWS", "EXPIRES", "BY", "CREATED", "NOTE"}, rows)
}

func (s *session) printChange(w io.Writer, c *changeSet) error {
	fmt.Fprintf(w, "change-set %s: %s\n", c.name(), c.state())
	for _, line := range [][2]string{{"shadows", c.shadows()}, {"not before", c.NotBefore}, {"expires", c.ExpiresAt}, {"by", c.By + ", " + second(c.Created)}, {"note", c.Note}} {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-10s  %s\n", line[0], line[1])
		}
	}
	var rows [][]string
	for name, share := range c.Shadows {
		for _, r := range share.Receipts {
			why := ""
			if r.Code != "" {
				why = r.Code + ": " + r.Message
			}
			if r.SupersededBy > 0 {
				why = "by version " + strconv.FormatUint(r.SupersededBy, 10)
			}
			rows = append(rows, []string{shadowWord(c.Thing, name), r.Path, clipped(string(r.Value)), string(r.Status), why})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	slices.SortFunc(rows, slices.Compare)
	fmt.Fprintln(w)
	return output.Rows(w, []string{"SHADOW", "PATH", "VALUE", "STATUS", "WHY"}, rows)
}

func (s *session) printCancelled(w io.Writer, c *changeSet) error {
	fmt.Fprintf(w, "change-set %s cancelled\n", c.name())
	return nil
}

// reach waits until change-sets are reached, and says on the way what changes.
func (s *session) reach(ctx context.Context, progress io.Writer, list []*changeSet, limit time.Duration) error {
	last := make([]string, len(list))
	started := time.Now()
	err := s.await(ctx, limit, func(ctx context.Context) (bool, error) {
		all := true
		for i, c := range list {
			if c.Status == "reached" {
				continue
			}
			now, err := s.getChange(ctx, c.Thing, c.Generation)
			if err != nil {
				return false, err
			}
			list[i] = now
			if state := now.state(); state != last[i] {
				fmt.Fprintf(progress, "%6.1fs  change-set %-16s %s\n", time.Since(started).Seconds(), now.name(), state)
				last[i] = state
			}
			if now.over() && now.Status != "reached" {
				return false, fmt.Errorf("change-set %s is %s", now.name(), now.state())
			}
			if name, r := now.hopeless(); r != nil {
				return false, fmt.Errorf("change-set %s: %s: %s failed: %s (%s)", now.name(), shadowWord(now.Thing, name), r.Path, r.Message, r.Code)
			}
			all = all && now.Status == "reached"
		}
		return all, nil
	})
	if errors.Is(err, errTimeout) {
		for _, c := range list {
			if c.Status != "reached" {
				fmt.Fprintf(progress, "not reached: change-set %s; see: gnomon changes get %s\n", c.name(), c.name())
			}
		}
	}
	return err
}

// hopeless returns a receipt of what the node will not try again.
func (c *changeSet) hopeless() (shadowName string, r *schema.Receipt) {
	for name, share := range c.Shadows {
		for i := range share.Receipts {
			one := &share.Receipts[i].Receipt
			if (one.Status == schema.ReceiptFailed || one.Status == schema.ReceiptRejected) && !one.Retryable {
				return name, one
			}
		}
	}
	return "", nil
}
